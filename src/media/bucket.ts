import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, ReadStream } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Readable } from 'node:stream'
import aws4 from 'aws4'
import type { Config } from '../config/settings.ts'
import { createDeadline, DeadlinePassed, withDeadline } from '../lib/deadline.ts'
import { readBytes } from '../lib/http/bytes.ts'
import { createHttpClient, type HttpAnswer, type HttpRequest, Silence } from '../lib/http/client.ts'
import { clockOf, elementOf, meaningOf, objectsIn } from './s3-answers.ts'
import { BucketError } from './storage-fault.ts'

/** SHA-256 of nothing. */
const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
/** Attempts at a request that fails for the moment, and the first pause between them, in milliseconds. */
const attempts = 3
const firstPause = 100
/** Slower uploads and downloads are given up, in bytes a second. */
const slowest = 128 * 1024
const connections = 64
/** For downloads, which wait for their readers: clients that read slowly keep nobody else from the bucket. */
const downloads = 1024
/** Longer answers, such as error pages of proxies, are no answers of S3. */
const maxTextBytes = 8 * 1024 * 1024
/** Life of a link in seconds. Links of the same period are equal, so that browsers find the image in their cache. */
const linkSeconds = 600
const linkPeriod = 300

/** A file that becomes the content of an object. */
export interface FileContent {
  readonly path: string
  readonly size: number
  /** Lowercase hexadecimal. */
  readonly sha256: string
}

type Content = FileContent | { readonly bytes: Buffer, readonly size: number, readonly sha256: string }

export interface ObjectFacts {
  readonly bytes: number
  readonly modifiedAt: Date
  /** Milliseconds since it was stored, by the clock of the bucket. */
  readonly age: number
  readonly tag: string
  readonly mime: string | null
  /** As it was when the object was stored by this service; null for others. */
  readonly sha256: string | null
  /** Names the call that stored it; null for objects of others. */
  readonly put: string | null
}

export interface ListedObject extends Pick<ObjectFacts, 'bytes' | 'age'> {
  readonly key: string
}

/** The objects of a bucket below a prefix. Every method throws BucketError if the bucket cannot be used. */
export interface Bucket {
  /** Bucket and prefix. */
  readonly url: string
  /** Of its links. */
  readonly origin: string
  /** The same with the service, for people. */
  readonly shown: string
  /** Stores an object. With `new` it replaces none: false if there is one. */
  put (key: string, content: Buffer | FileContent, mime: string, which: 'new' | 'any'): Promise<boolean>
  /** Null if there is no such object. */
  facts (key: string): Promise<ObjectFacts | null>
  /** The content or a part of it, both ends included. Null if there is no such object, or none of this tag. */
  read (key: string, part?: { start: number, end: number }, tag?: string): Promise<Readable | null>
  readAll (key: string): Promise<Buffer | null>
  /** Makes an object as new as if it were stored now; false if the service does not know how. */
  renew (key: string, facts: Pick<ObjectFacts, 'mime' | 'sha256'>): Promise<boolean>
  /** A missing one is no error. */
  remove (key: string): Promise<void>
  /** All objects whose keys begin so, by their keys. */
  list (start: string, most?: number): AsyncIterable<ListedObject>
  /** An address from which all that have it can read the object. It is valid for `seconds` or more. */
  link (key: string, as: { readonly mime: string, readonly disposition: string }): { url: string, seconds: number }
  close (): Promise<void>
}

type BucketSettings = Pick<Config, 'MEDIA_URL' | 'S3_ENDPOINT' | 'S3_REGION' | 'S3_ACCESS_KEY_ID' | 'S3_SECRET_ACCESS_KEY' |
  'S3_PATH_STYLE' | 'S3_TIMEOUT_SECONDS'>

interface Sent extends Pick<HttpRequest, 'method'> {
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly content?: Content
  /** Whether a reader takes the answer, when it likes. */
  readonly isDownload?: true
  /** For failures after which an attempt can have succeeded. */
  readonly onDoubt?: () => void
}

/** Opens a bucket of S3, or of any service that speaks its protocol. No request is sent. */
export function openBucket (settings: BucketSettings): Bucket {
  const { bucket, prefix, base, pathStyle } = placeOf(settings)
  const timeoutMs = settings.S3_TIMEOUT_SECONDS * 1000
  const credentials = { accessKeyId: settings.S3_ACCESS_KEY_ID, secretAccessKey: settings.S3_SECRET_ACCESS_KEY }
  const connectTimeoutMs = Math.min(5000, timeoutMs)
  const http = createHttpClient({ connectTimeoutMs, keep: { connections, idleMs: 4000 } })
  const downloading = createHttpClient({ connectTimeoutMs, keep: { connections: downloads, idleMs: 4000 } })
  const url = `s3://${bucket}/${prefix}`
  let conditions = true

  /** Path and query as they are signed. */
  function addressOf (key: string, query: Readonly<Record<string, string>> = {}): string {
    const path = key === '' ? '' : (prefix + key).split('/').map(encodeURIComponent).join('/')
    const root = pathStyle ? `/${bucket}${path === '' ? '' : '/'}` : '/'
    const text = Object.entries(query).map(pair => pair.map(encodeURIComponent).join('=')).join('&')
    return `${root}${path}${text === '' ? '' : `?${text}`}`
  }

  async function attempt (sent: Sent, limit: number): Promise<HttpAnswer> {
    const { method = 'GET', key = '', query, content, headers = {} } = sent
    const signed = aws4.sign({
      service: 's3',
      region: settings.S3_REGION,
      method,
      host: base.host,
      path: addressOf(key, query),
      headers: {
        ...headers,
        ...(method === 'PUT' ? { 'content-length': String(content?.size ?? 0) } : {}),
        'x-amz-content-sha256': content?.sha256 ?? emptyHash
      }
    }, credentials)
    const body = content === undefined || 'bytes' in content ? content?.bytes : createReadStream(content.path)
    const file = body instanceof ReadStream ? body : null
    file?.on('error', () => {}) // its reader gets it
    const deadline = createDeadline(limit)
    try {
      return await (sent.isDownload === true ? downloading : http).request({
        url: new URL(signed.path ?? '', base),
        method,
        headers: Object.fromEntries(Object.entries(signed.headers ?? {}).map(([name, value]) => [name, String(value)])),
        signal: deadline.signal,
        idleMs: Math.max(limit, timeoutMs),
        ...(body === undefined ? {} : { body })
      })
    } finally {
      deadline.clear()
      file?.destroy()
    }
  }

  /** Repeats a request that fails for the moment. All requests can be repeated. @throws BucketError */
  async function send (sent: Sent): Promise<HttpAnswer> {
    const limit = timeoutMs + (sent.content?.size ?? 0) / slowest * 1000
    const endsAt = performance.now() + limit
    for (let number = 1; ; number++) {
      const left = endsAt - performance.now()
      const pause = firstPause * 2 ** number * Math.random()
      // A further attempt needs time of its own.
      const isLast = () => number === attempts || performance.now() + 2 * pause >= endsAt
      try {
        // A connection that hangs leaves time for another.
        const answer = await attempt(sent, number === attempts ? left : left * 0.6)
        if (answer.statusCode < 500 && answer.statusCode !== 429 && answer.statusCode !== 409) return answer
        if (answer.statusCode === 501 || isLast()) return answer
        answer.body.destroy()
      } catch (error) {
        if (isLast()) throw unreachable(error, sent.key)
      }
      sent.onDoubt?.()
      await sleep(pause)
    }
  }

  function unreachable (error: unknown, key = ''): BucketError {
    const { code = 'EUNREACHABLE' } = error as NodeJS.ErrnoException
    const errno = error instanceof DeadlinePassed || error instanceof Silence ? 'ETIMEDOUT' : code
    const reason = errno === 'ETIMEDOUT' ? 'the bucket does not answer in time' : 'the bucket cannot be reached'
    return new BucketError({ errno, path: url + key, reason }, null, error)
  }

  /** The text of an answer. @throws BucketError */
  async function textOf (answer: HttpAnswer, key?: string): Promise<string> {
    try {
      return await withDeadline(timeoutMs, [], async signal => {
        signal.addEventListener('abort', () => { answer.body.destroy(signal.reason) }, { once: true })
        return (await readBytes(answer.body, maxTextBytes)).toString()
      })
    } catch (error) {
      throw unreachable(error, key)
    }
  }

  async function refused (answer: HttpAnswer, key?: string): Promise<BucketError> {
    const { code, reason, remedy } = meaningOf(answer.statusCode, await textOf(answer, key).catch(() => ''))
    return new BucketError({ errno: code, path: url + (key ?? ''), reason }, remedy)
  }

  /** The answer if its status is one of these. @throws BucketError */
  async function expecting (sent: Sent, ...statuses: number[]): Promise<HttpAnswer> {
    const answer = await send(sent)
    if (!statuses.includes(answer.statusCode)) throw await refused(answer, sent.key)
    return answer
  }

  async function isMissing (answer: HttpAnswer, key: string): Promise<boolean> {
    if (answer.statusCode === 412) {
      answer.body.destroy()
      return true
    }
    if (answer.statusCode !== 404) return false
    const error = await refused(answer, key)
    if (error.fault.errno === 'NoSuchBucket') throw error
    return true
  }

  async function facts (key: string): Promise<ObjectFacts | null> {
    const answer = await expecting({ method: 'HEAD', key }, 200, 404)
    const { headers, statusCode } = answer
    answer.body.destroy()
    if (statusCode === 404) return null
    const modifiedAt = new Date(String(headers['last-modified']))
    return {
      bytes: Number(headers['content-length']),
      modifiedAt,
      age: clockOf(answer) - modifiedAt.getTime(),
      tag: String(headers.etag),
      mime: headers['content-type'] ?? null,
      sha256: textIn(headers['x-amz-meta-sha256']),
      put: textIn(headers['x-amz-meta-put'])
    }
  }

  async function put (key: string, given: Buffer | FileContent, mime: string, which: 'new' | 'any'): Promise<boolean> {
    const content = Buffer.isBuffer(given) ? { bytes: given, size: given.length, sha256: sha256Of(given) } : given
    let doubted = false
    const mark = randomUUID()
    const isNew = which === 'new'
    if (isNew && !conditions && await facts(key) !== null) return false
    const answer = await expecting({
      method: 'PUT',
      key,
      content,
      headers: {
        'content-type': mime,
        'x-amz-meta-sha256': content.sha256,
        'x-amz-meta-put': mark,
        ...(isNew && conditions ? { 'if-none-match': '*' } : {})
      },
      onDoubt () { doubted = true }
    }, 200, 412, ...(conditions ? [501] : []))
    answer.body.destroy()
    if (answer.statusCode === 501) {
      // Some services do not know the condition.
      conditions = false
      return await put(key, given, mime, which)
    }
    // An attempt of ours can have stored it without an answer.
    return answer.statusCode === 200 || (doubted && (await facts(key))?.put === mark)
  }

  async function read (key: string, part?: { start: number, end: number }, tag?: string): Promise<Readable | null> {
    const answer = await expecting({
      key,
      isDownload: true,
      headers: {
        ...(part === undefined ? {} : { range: `bytes=${part.start}-${part.end}` }),
        ...(tag === undefined ? {} : { 'if-match': tag })
      }
    }, 200, 206, 404, 412)
    if (await isMissing(answer, key)) return null
    const content = Readable.from(contentOf(answer, key), { objectMode: false })
    // Also if nothing was read.
    return content.once('close', () => { answer.body.destroy() })
  }

  /** The content of an answer, without an end to the wait for the reader, but with one to that for the bucket. */
  async function * contentOf ({ body }: HttpAnswer, key: string): AsyncGenerator<Buffer, void> {
    let bytes = 0
    let waited = 0
    let since = performance.now()
    try {
      for await (const chunk of body) {
        bytes += chunk.length
        waited += performance.now() - since
        if (waited > timeoutMs + bytes / slowest * 1000) throw new DeadlinePassed(waited)
        yield chunk
        since = performance.now()
      }
    } catch (error) {
      throw unreachable(error, key)
    }
  }

  return {
    url,
    origin: base.origin,
    shown: `${url} at ${base.origin}`,
    put,
    facts,
    read,
    async readAll (key) {
      const body = await read(key)
      return body === null ? null : await buffer(body)
    },
    async renew (key, { mime, sha256 }) {
      const answer = await send({
        method: 'PUT',
        key,
        headers: {
          'x-amz-copy-source': `/${bucket}/${(prefix + key).split('/').map(encodeURIComponent).join('/')}`,
          'x-amz-metadata-directive': 'REPLACE',
          ...(mime === null ? {} : { 'content-type': mime }),
          ...(sha256 === null ? {} : { 'x-amz-meta-sha256': sha256 })
        }
      })
      const text = await textOf(answer, key)
      // An error can come after the status.
      return answer.statusCode === 200 && elementOf(text, 'Code') === null
    },
    async remove (key) {
      const answer = await expecting({ method: 'DELETE', key }, 200, 204, 404)
      if (!await isMissing(answer, key)) answer.body.destroy()
    },
    async * list (start, most = Infinity) {
      let token: string | null = null
      do {
        const answer: HttpAnswer = await expecting({
          query: {
            'list-type': '2',
            prefix: prefix + start,
            'encoding-type': 'url',
            ...(most === Infinity ? {} : { 'max-keys': String(most) }),
            ...(token === null ? {} : { 'continuation-token': token })
          }
        }, 200)
        const text = await textOf(answer)
        for (const { key, bytes, modifiedAt } of objectsIn(text)) {
          yield { key: key.slice(prefix.length), bytes, age: clockOf(answer) - modifiedAt }
        }
        const isMore = elementOf(text, 'IsTruncated') === 'true' && most === Infinity
        token = isMore ? elementOf(text, 'NextContinuationToken') : null
      } while (token !== null)
    },
    link (key, { mime, disposition }) {
      const begin = Math.floor(Date.now() / 1000 / linkPeriod) * linkPeriod
      const signed = aws4.sign({
        service: 's3',
        region: settings.S3_REGION,
        method: 'GET',
        host: base.host,
        signQuery: true,
        path: addressOf(key, {
          'response-content-type': mime,
          'response-content-disposition': disposition,
          'X-Amz-Expires': String(linkSeconds),
          'X-Amz-Date': new Date(begin * 1000).toISOString().replace(/[:-]|\.\d{3}/g, '')
        })
      }, credentials)
      return { url: new URL(signed.path ?? '', base).href, seconds: linkSeconds - linkPeriod }
    },
    async close () {
      await Promise.all([http.close(), downloading.close()])
    }
  }
}

function textIn (header: string | string[] | undefined): string | null {
  return header === undefined ? null : String(header)
}

function sha256Of (bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function placeOf ({ MEDIA_URL, S3_ENDPOINT, S3_REGION, S3_PATH_STYLE }: BucketSettings) {
  const [, bucket = '', path = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(MEDIA_URL) ?? []
  const pathStyle = S3_PATH_STYLE === 'auto' ? S3_ENDPOINT !== '' || bucket.includes('.') : S3_PATH_STYLE === 'on'
  const base = new URL(S3_ENDPOINT === '' ? `https://s3.${S3_REGION}.amazonaws.com` : S3_ENDPOINT)
  if (!pathStyle) base.host = `${bucket}.${base.host}`
  return { bucket, prefix: path === '' ? '' : `${path.replace(/\/$/, '')}/`, base, pathStyle }
}
