import { createHash, createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'

interface StoredObject {
  readonly bytes: Buffer
  readonly modifiedAt: number
  readonly headers: Readonly<Record<string, string>>
}

/** How the server fails, for requests for which `when` holds. */
export interface S3Fault {
  readonly when?: (method: string, key: string) => boolean
  /** Status and code of the answer; or it never answers, closes the connection, or does so when the work is done. */
  readonly answer: readonly [status: number, code: string] | 'silence' | 'close' | 'lost' | Freeze
}

/** Where the server stops without closing the connection; a trickle is a byte now and then. */
export type Freeze = 'within the upload' | 'within the headers' | 'before the content' | 'within the content' | 'trickle'

/** A small S3 in memory: one bucket, signatures of version 4 in headers and links, no more than the service uses. */
export interface S3Server {
  /** MEDIA_URL, S3_ENDPOINT and the others. */
  readonly settings: Readonly<Record<string, string>>
  readonly objects: Map<string, StoredObject>
  /** Requests that were answered, as `PUT key`. */
  readonly requests: string[]
  /** Fails until `mend`. */
  fail (fault: S3Fault): void
  mend (): void
}

const credentials = { id: 'the-key', secret: 'the/secret+of=the key' }
const region = 'eu-test-1'
/** Objects in one page of a list. */
const pageSize = 3

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex')
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, letter => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`)

/** @returns the code of the complaint; null for a valid signature */
function judgeSignature ({ method = '', headers }: IncomingMessage, url: URL): string | null {
  const query = Object.fromEntries(url.searchParams)
  const isLink = query['X-Amz-Signature'] !== undefined
  const [, credential = '', signedHeaders = '', signature = ''] = isLink
    ? ['', query['X-Amz-Credential'], query['X-Amz-SignedHeaders'], query['X-Amz-Signature']]
    : /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=(\w+)$/.exec(headers.authorization ?? '') ?? []
  const [id, date = '', ...scope] = credential.split('/')
  if (id !== credentials.id) return 'InvalidAccessKeyId'
  if (scope.join('/') !== `${region}/s3/aws4_request`) return 'AuthorizationHeaderMalformed'
  const time = String(isLink ? query['X-Amz-Date'] : headers['x-amz-date'])
  const names = signedHeaders.split(';')
  // Everything that says what is done must be signed.
  if (Object.keys(headers).some(name => name.startsWith('x-amz-') && !names.includes(name))) return 'AccessDenied'
  const canonical = [
    method,
    decodeURIComponent(url.pathname).split('/').map(encode).join('/'),
    Object.entries(query).filter(([name]) => name !== 'X-Amz-Signature')
      .map(pair => pair.map(encode).join('=')).toSorted().join('&'),
    ...names.map(name => `${name}:${String(headers[name]).trim().replace(/\s+/g, ' ')}`),
    '',
    signedHeaders,
    isLink ? 'UNSIGNED-PAYLOAD' : String(headers['x-amz-content-sha256'])
  ].join('\n')
  const key = [date, region, 's3', 'aws4_request'].reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${credentials.secret}`)
  const text = ['AWS4-HMAC-SHA256', time, `${date}/${region}/s3/aws4_request`, sha256(canonical)].join('\n')
  if (hmac(key, text).toString('hex') !== signature) return 'SignatureDoesNotMatch'
  const madeAt = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  const isOver = isLink && Date.now() > madeAt + Number(query['X-Amz-Expires']) * 1000
  return isOver ? 'AccessDenied' : null
}

export async function startS3Server (t: Pick<Test, 'teardown'>, prefix = 'some/prefix'): Promise<S3Server> {
  const objects = new Map<string, StoredObject>()
  const requests: string[] = []
  let fault: S3Fault | null = null

  function refuse (response: ServerResponse, status: number, code: string): void {
    response.writeHead(status, { 'content-type': 'application/xml' })
    response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>No &amp; no.</Message></Error>`)
  }

  async function put (request: IncomingMessage, response: ServerResponse, key: string): Promise<void> {
    const { headers } = request
    const bytes = await buffer(request)
    if (sha256(bytes) !== headers['x-amz-content-sha256']) return refuse(response, 400, 'XAmzContentSHA256Mismatch')
    if (headers['if-none-match'] === '*' && objects.has(key)) return refuse(response, 412, 'PreconditionFailed')
    const source = headers['x-amz-copy-source']
    const copied = source === undefined ? undefined : objects.get(decodeURIComponent(String(source)).replace(/^\/bucket\//, ''))
    if (source !== undefined && copied === undefined) return refuse(response, 404, 'NoSuchKey')
    objects.set(key, {
      bytes: copied?.bytes ?? bytes,
      modifiedAt: Date.now(),
      headers: Object.fromEntries(Object.entries(headers).filter(([name]) => name === 'content-type' || name.startsWith('x-amz-meta-'))
        .map(([name, value]) => [name, String(value)]))
    })
    response.end(source === undefined ? '' : '<CopyObjectResult></CopyObjectResult>')
  }

  function get (request: IncomingMessage, response: ServerResponse, url: URL, key: string): void {
    const found = objects.get(key)
    if (found === undefined) return refuse(response, 404, 'NoSuchKey')
    const tag = `"${sha256(found.bytes).slice(0, 32)}"`
    if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== tag) return refuse(response, 412, 'PreconditionFailed')
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const bytes = from === undefined ? found.bytes : found.bytes.subarray(Number(from), Number(to) + 1)
    response.writeHead(from === undefined ? 200 : 206, {
      ...found.headers,
      ...Object.fromEntries(['content-type', 'content-disposition'].flatMap(name =>
        url.searchParams.has(`response-${name}`) ? [[name, url.searchParams.get(`response-${name}`)]] : [])),
      etag: tag,
      'last-modified': new Date(found.modifiedAt).toUTCString(),
      'content-length': bytes.length
    })
    response.end(request.method === 'HEAD' ? undefined : bytes)
  }

  function list (response: ServerResponse, { searchParams }: URL): void {
    const after = searchParams.get('continuation-token') ?? ''
    const keys = [...objects.keys()].toSorted()
      .filter(key => key.startsWith(searchParams.get('prefix') ?? '') && key > after)
    const page = keys.slice(0, Math.min(pageSize, Number(searchParams.get('max-keys') ?? pageSize)))
    const entries = page.map(key => `<Contents><Key>${encode(key)}</Key><LastModified>` +
      `${new Date(objects.get(key)?.modifiedAt ?? 0).toISOString()}</LastModified><Size>${objects.get(key)?.bytes.length}</Size></Contents>`)
    const next = page.length < keys.length ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''
    response.end(`<ListBucketResult><IsTruncated>${next !== ''}</IsTruncated>${next}${entries.join('')}</ListBucketResult>`)
  }

  /** Reads one piece of what it gets, or all of it, and says so much. */
  async function freeze (request: IncomingMessage, point: Freeze): Promise<void> {
    const { socket } = request
    if (point === 'within the upload') {
      request.once('data', () => { request.pause() })
      return
    }
    await buffer(request)
    const headers = 'HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\nx-more: '
    const said = { 'within the headers': '', 'before the content': '\r\n\r\n', 'within the content': '\r\n\r\n<Li', trickle: '\r\n\r\n' }
    socket.write(headers + said[point])
    if (point !== 'trickle') return
    const timer = setInterval(() => { socket.write('<') }, 20)
    socket.once('close', () => { clearInterval(timer) })
  }

  async function answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '' } = request
    const url = new URL(request.url ?? '/', 'http://bucket')
    const [, bucket, ...rest] = decodeURIComponent(url.pathname).split('/')
    const key = rest.join('/')
    const struck = fault !== null && fault.when?.(method, key) !== false ? fault.answer : null
    if (struck === 'silence') return
    if (struck === 'close') {
      request.socket.destroy()
      return
    }
    if (typeof struck === 'string' && struck !== 'lost') return await freeze(request, struck)
    if (struck === 'lost') response.end = () => response.destroy()
    else if (struck !== null) {
      await buffer(request)
      return refuse(response, ...struck)
    }
    requests.push(`${method} ${key}`)
    const complaint = judgeSignature(request, url)
    if (complaint !== null) return refuse(response, 403, complaint)
    if (bucket !== 'bucket') return refuse(response, 404, 'NoSuchBucket')
    if (method === 'PUT') return await put(request, response, key)
    if (key === '' && url.searchParams.get('list-type') === '2') return list(response, url)
    if (method === 'GET' || method === 'HEAD') return get(request, response, url, key)
    objects.delete(key)
    response.writeHead(204).end()
  }

  const server = createServer((request, response) => { answer(request, response).catch(() => { response.destroy() }) })
  const sockets = new Set<Socket>()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => { sockets.delete(socket) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => { server.close(resolve) })
  })
  const { port } = server.address() as AddressInfo
  return {
    settings: {
      MEDIA_URL: `s3://bucket/${prefix}`,
      S3_ENDPOINT: `http://127.0.0.1:${port}`,
      S3_REGION: region,
      S3_ACCESS_KEY_ID: credentials.id,
      S3_SECRET_ACCESS_KEY: credentials.secret
    },
    objects,
    requests,
    fail (given) { fault = given },
    mend () { fault = null }
  }
}
