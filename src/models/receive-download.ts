import { constants } from 'node:fs'
import { link, lstat, open, readFile, rename, rm, stat, statfs, unlink, writeFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import type { EgressGuard } from '../egress/guard.ts'
import { createHttpClient, type HttpAnswer } from '../lib/http/client.ts'
import { fieldsOf, textOf } from '../lib/json-values.ts'
import { withoutTrailing } from '../lib/text.ts'
import { flushFolder, hasCode } from '../media/file-sink.ts'
import { readSafetensorsHeader } from '../model-facts/embedded.ts'
import { plainWord } from '../model-facts/sanitise.ts'
import type { Download } from './download.ts'
import type { Hasher } from './file-store.ts'
import { brokenReason } from './inspect.ts'

/** A failure that another attempt cannot avoid. */
export class FinalFailure extends Error {
  override readonly name = 'FinalFailure'
}

export interface SourceRequest {
  readonly url: URL
  /** Sent to the first address only, never to the target of a redirect. */
  readonly authorization: string | null
  /** Bytes that exist already. */
  readonly from: number
  /** Origins of the settings: any address is allowed, and no TLS is needed. */
  readonly trustedOrigins: readonly string[]
  /** ETag or date of these bytes: a changed file comes whole. */
  readonly ifRange?: string
  /** Advice if the source asks for a login instead. */
  readonly loginHint?: string
  readonly signal: AbortSignal
}

interface OpenSource {
  /** Its body must be read or destroyed. */
  readonly answer: HttpAnswer
  /** SHA-256 from the source itself, lower case: HuggingFace sends it in `X-Linked-Etag`; null otherwise. */
  readonly sha256: string | null
}

const maxRedirects = 5
/** Paths to which sources redirect clients that must log in. */
const loginPath = /\/(?:log-?in|sign-?in|oauth)(?:\/|$)/i
/** Before the answer and between two pieces of it, in milliseconds. */
const idleMs = 60_000

const configuredSources = createHttpClient({ connectTimeoutMs: 10_000 })

/**
 * Begins to download. Redirects are checked like the first address: https and the internet only, except for origins of
 * the settings.
 * @throws EgressRefusal, FinalFailure, or an Error with the reason
 */
export async function openSource (guard: Pick<EgressGuard, 'client'>, request: SourceRequest): Promise<OpenSource> {
  let url = request.url
  let sha256: string | null = null
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const trusted = request.trustedOrigins.includes(url.origin)
    if (url.protocol !== 'https:' && !trusted) throw new FinalFailure(`${url.host} needs https`)
    const keepsKey = request.authorization !== null && url.origin === request.url.origin
    const http = trusted ? configuredSources : guard.client('public')
    const answer = await http.request({
      url,
      headers: {
        'user-agent': 'StableQueue',
        ...(keepsKey ? { authorization: request.authorization } : {}),
        ...(request.from > 0 ? { range: `bytes=${request.from}-` } : {}),
        ...(request.from > 0 && request.ifRange !== undefined ? { 'if-range': request.ifRange } : {})
      },
      signal: request.signal,
      idleMs
    })
    const { statusCode, headers } = answer
    // Only the source's own header counts, not that of the storage it redirects to.
    if (trusted) sha256 ??= linkedHash(headers['x-linked-etag'])
    if (![301, 302, 303, 307, 308].includes(statusCode)) return { answer, sha256 }
    answer.body.destroy()
    if (headers.location === undefined) throw new Error(`${url.host} redirects to nowhere`)
    url = new URL(headers.location, url)
    if (request.loginHint !== undefined && loginPath.test(url.pathname)) {
      throw new FinalFailure(`${request.url.host} wants a login first; ${request.loginHint}`)
    }
  }
  throw new FinalFailure(`${request.url.host} redirects too often`)
}

function linkedHash (tag: string | string[] | undefined): string | null {
  return typeof tag === 'string' ? /^"?([0-9a-f]{64})"?$/i.exec(tag)?.[1]?.toLowerCase() ?? null : null
}

/** Companions must fit too, in bytes. */
const spareSpace = 1024 ** 3

export interface Reception {
  readonly download: Download
  /** Real path. */
  readonly folder: string
  readonly hasher: Hasher
  /** Requests all bytes after these. */
  readonly openFrom: (bytes: number, ifRange: string | undefined) => Promise<OpenSource>
  /** Advice if the source asks for a login instead. */
  readonly loginHint: string
  readonly onProgress: (received: number, size: number | null) => Promise<void>
  /** Throws if the file is no longer wanted. */
  readonly confirm: () => Promise<void>
  readonly signal: AbortSignal
}

/** The incomplete file; stays after a break, so that the next attempt resumes it. */
export function partOf ({ id, round, filename }: Download, folder: string): string {
  return join(folder, `${filename}.${id.slice(0, 8)}${round > 0 ? `-${round}` : ''}.part`)
}

/**
 * Receives a file, resuming an earlier attempt; it gets its name only when size and hash are right.
 * @returns real path and SHA-256 of the file
 * @throws FinalFailure for a failure that another attempt cannot avoid
 */
export async function receiveFile (
  reception: Reception
): Promise<{ path: string, sha256: string, autoV3: string | null }> {
  const { download, folder } = reception
  const part = partOf(download, folder)
  const path = join(folder, download.filename)
  if (await lstat(path).catch(() => null) !== null) {
    throw new FinalFailure(`there is a file ${download.filename} already`)
  }
  let received = await receivePart(part, reception)
  let checked = await check(part, received, reception)
  if (typeof checked === 'string' && received.resumed) {
    // half of it can be of another file: the source changed it, or does not say whether it did
    await discard(part)
    received = await receivePart(part, reception)
    checked = await check(part, received, reception)
  }
  if (typeof checked === 'string') {
    await discard(part)
    // without a length, a broken connection looks like the end
    if (!received.sized) throw new Error(checked)
    throw new FinalFailure(`${checked}; nothing of it was kept`)
  }
  const { sha256, autoV3 } = checked
  await reception.confirm()
  await giveName(part, path)
  await rm(noteOf(part), { force: true })
  await flushFolder(folder)
  return { path, sha256, autoV3 }
}

interface Received {
  /** SHA-256 from the source. */
  readonly announcedHash: string | null
  /** Whether an earlier attempt received a part of it. */
  readonly resumed: boolean
  /** Whether the source sent its length. */
  readonly sized: boolean
}

/** The hashes of the received file, or what is wrong with it. */
async function check (
  part: string, { announcedHash }: Received, { download, hasher, loginHint, signal }: Reception
): Promise<{ sha256: string, autoV3: string | null } | string> {
  const { size } = await stat(part)
  const broken = await brokenReason(part, size)
  if (broken?.includes('web page') === true) {
    throw new FinalFailure(`the source sent a web page instead of ${download.filename}; ${loginHint}`)
  }
  if (broken !== null) return broken
  const { sha256, autoV3 } = await hasher.hash(part, signal)
  const wanted = download.sha256 ?? announcedHash
  if (wanted !== null) {
    return sha256 === wanted ? { sha256, autoV3 } : `its SHA-256 is ${sha256}, but should be ${wanted}`
  }
  return await unsoundReason(download.filename, part, size) ?? { sha256, autoV3 }
}

async function unsoundReason (filename: string, part: string, size: number): Promise<string | null> {
  if (!/\.(safetensors|sft)$/i.test(filename)) return null
  const file = await open(part, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const header = await readSafetensorsHeader(file, size)
    if (header === null || header.end === null) return 'the downloaded file has no header of a .safetensors file'
    return header.end > size ? `its header needs ${header.end} bytes, but ${size} arrived` : null
  } finally {
    await file.close()
  }
}

async function receivePart (part: string, reception: Reception): Promise<Received> {
  const { download, openFrom } = reception
  const size = (await stat(part).catch(() => null))?.size ?? 0
  const note = size === 0 ? null : await readFile(noteOf(part), 'utf8').catch(() => null)
  // without either, a changed file would go unnoticed
  const present = note === null && download.sha256 === null ? 0 : size
  const source = await openFrom(present, note ?? undefined)
  const { statusCode, headers } = source.answer
  const total = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1]
  if (present > 0 && statusCode === 416 && Number(total ?? present) === present) {
    source.answer.body.destroy()
    return { announcedHash: source.sha256, resumed: true, sized: true }
  }
  const goesOn = statusCode === 206 && headers['content-range']?.startsWith(`bytes ${present}-`) === true &&
    (note === null || (validatorOf(headers) ?? note) === note)
  if (present > 0 && (statusCode === 416 || (statusCode === 206 && !goesOn))) {
    source.answer.body.destroy()
    await discard(part)
    return await writePart(part, 0, await openFrom(0, undefined), reception)
  }
  return await writePart(part, goesOn ? present : 0, source, reception)
}

async function writePart (
  part: string, begin: number, source: OpenSource, { download, folder, loginHint, onProgress, signal }: Reception
): Promise<Received> {
  try {
    const { statusCode, headers, body } = source.answer
    if (statusCode !== 200 && statusCode !== 206) throw await refusal(source, loginHint)
    if (statusCode === 206 && begin === 0) throw new Error('it sent a different part than requested')
    if (/^(?:text\/html|application\/xhtml)/i.test(headers['content-type'] ?? '')) {
      throw new FinalFailure(`the source answered with a web page instead of ${download.filename}; ${loginHint}`)
    }
    const length = Number(headers['content-length'])
    const size = Number.isSafeInteger(length) && headers['content-length'] !== undefined ? begin + length : null
    const { bavail, bsize } = await statfs(folder)
    if (bavail * bsize < (size ?? 0) - begin + spareSpace) throw new FinalFailure('there is not enough free space')
    const file = await open(part, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o644)
    try {
      await file.truncate(begin)
      const validator = validatorOf(headers)
      if (begin === 0 && validator === null) await rm(noteOf(part), { force: true })
      else if (begin === 0 && validator !== null) await writeFile(noteOf(part), validator)
      let received = begin
      for await (const chunk of body) {
        signal.throwIfAborted()
        await file.write(chunk, 0, chunk.length, received)
        received += chunk.length
        await onProgress(received, size)
      }
      if (size !== null && received !== size) throw new Error(`it broke off after ${received} of ${size} bytes`)
      await file.sync()
    } finally {
      await file.close()
    }
    return { announcedHash: source.sha256, resumed: begin > 0, sized: size !== null }
  } finally {
    source.answer.body.destroy()
  }
}

/** Beside the part: the validator that shows whether the file at the source is still the same. */
function noteOf (part: string): string {
  return `${part}.etag`
}

/** Removes the received part. */
export async function discard (part: string): Promise<void> {
  await rm(part, { force: true })
  await rm(noteOf(part), { force: true })
}

/** A strong ETag, else the date: only these are valid for single bytes. */
function validatorOf ({ etag, 'last-modified': modified }: IncomingHttpHeaders): string | null {
  return etag !== undefined && etag.startsWith('"') ? etag : modified ?? null
}

async function refusal ({ answer }: OpenSource, loginHint: string): Promise<Error> {
  const { statusCode } = answer
  const said = await sentenceOf(answer)
  const sentence = `the source answered ${statusCode}${said === '' ? '' : `: ${said}`}`
  if (statusCode === 401 || statusCode === 403) return new FinalFailure(`${withoutTrailing(sentence, '.')}; ${loginHint}`)
  const isPassing = statusCode >= 500 || statusCode === 429 || statusCode === 408
  return isPassing ? new Error(sentence) : new FinalFailure(sentence)
}

/** Characters of a refusing answer that are read and shown. */
const longestAnswer = 16_384
const longestSentence = 300

/** The source's own words, from JSON or text; empty for a page. */
async function sentenceOf ({ headers, body }: OpenSource['answer']): Promise<string> {
  let text = ''
  try {
    for await (const chunk of body) {
      text += chunk.toString('utf8')
      if (text.length > longestAnswer) break
    }
  } catch {
    // the received text is enough
  }
  if (/html/i.test(headers['content-type'] ?? '') || /^\s*</.test(text)) return ''
  try {
    const fields = fieldsOf(JSON.parse(text))
    text = textOf(fields.message) ?? textOf(fields.error) ?? ''
  } catch {
    // plain text
  }
  return plainWord(text)?.slice(0, longestSentence) ?? ''
}

/** Never over another file. */
async function giveName (part: string, path: string): Promise<void> {
  try {
    await link(part, path)
    await unlink(part)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw new FinalFailure('there is a file of that name by now')
    // a file system without hard links
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK')) throw error
    await rename(part, path)
  }
}
