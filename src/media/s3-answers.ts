import type { HttpAnswer } from '../lib/http/client.ts'

/** What answers of S3 mean, and what operators do if waiting does not help. */
const meanings: Readonly<Record<string, readonly [reason: string, remedy: string | null]>> = {
  NoSuchBucket: ['there is no such bucket', 'Create it, or correct MEDIA_URL, S3_ENDPOINT or S3_REGION.'],
  InvalidAccessKeyId: ['the access key of the bucket is unknown there', 'Correct S3_ACCESS_KEY_ID, or S3_ENDPOINT.'],
  SignatureDoesNotMatch: ['the secret of the bucket\'s access key is wrong', 'Correct S3_SECRET_ACCESS_KEY.'],
  AccessDenied: ['the access key has no right to do that in the bucket', 'Give it the rights to put, get, delete and list ' +
    'objects: s3:PutObject, s3:GetObject and s3:DeleteObject on them, s3:ListBucket on the bucket.'],
  PermanentRedirect: ['the bucket is in another region', 'Correct S3_REGION or S3_ENDPOINT.'],
  AuthorizationHeaderMalformed: ['the bucket is in another region', 'Correct S3_REGION.'],
  RequestTimeTooSkewed: ['the clocks of this machine and the bucket differ by more than 15 minutes', 'Set the clock by NTP.'],
  QuotaExceeded: ['the quota of the bucket is used up', null],
  XMinioStorageFull: ['the disk of the bucket is full', null],
  SlowDown: ['the bucket asks for fewer requests', null]
}

/** Answers without a text. */
const codesOfStatus: Readonly<Record<number, string>> = {
  301: 'PermanentRedirect', 307: 'PermanentRedirect', 400: 'BadRequest', 403: 'AccessDenied', 404: 'NoSuchKey', 412: 'PreconditionFailed', 503: 'SlowDown'
}

/** The code of an answer that refuses a request, in words, and what operators do about it. */
export function meaningOf (status: number, text: string): { code: string, reason: string, remedy: string | null } {
  const code = elementOf(text, 'Code') ?? codesOfStatus[status] ?? String(status)
  const [reason, remedy] = meanings[code] ?? [`the bucket answers with status ${status}`, null]
  return { code, reason, remedy }
}

/** The objects of a list, with whole keys. */
export function * objectsIn (list: string): Generator<{ key: string, bytes: number, modifiedAt: number }, void> {
  for (const [, entry = ''] of list.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
    yield {
      key: decodeURIComponent((elementOf(entry, 'Key') ?? '').replaceAll('+', ' ')),
      bytes: Number(elementOf(entry, 'Size')),
      modifiedAt: Date.parse(elementOf(entry, 'LastModified') ?? '')
    }
  }
}

/** The time of an answer by the sender's clock, in milliseconds since the epoch. */
export function clockOf ({ headers }: HttpAnswer): number {
  const time = Date.parse(String(headers.date))
  return Number.isNaN(time) ? Date.now() : time
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** The text of the first element of this name; null if there is none. S3 writes no attributes in elements of texts. */
export function elementOf (xml: string, name: string): string | null {
  const [, text] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? []
  if (text === undefined) return null
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hexadecimal, entity) => {
    if (entity !== undefined) return entities[entity as string] ?? whole
    return String.fromCodePoint(decimal === undefined ? parseInt(hexadecimal as string, 16) : Number(decimal))
  })
}
