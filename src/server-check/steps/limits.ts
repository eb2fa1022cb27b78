import { setTimeout as sleep } from 'node:timers/promises'
import type { RawAnswer } from '../../a1111/raw-calls.ts'
import { GenerationFailure } from '../../a1111/types.ts'
import { addFinding, type CheckFacts } from '../report.ts'
import { NotFoundOut, type CheckSession } from '../session.ts'

const mebibyte = 1024 * 1024
/** Bodies that are tried, in bytes: around the limits that proxies usually have: 1, 10 and 50 MiB among others. */
const bodySizes = [0.5, 1.5, 5, 11, 25, 51].map(size => size * mebibyte)
/** Requests that narrow the limit down after a refusal. */
const narrowings = 3
const bodyTimeout = 30_000
/** A body that takes longer than this is the last one: the connection is slow. In milliseconds. */
const slowBody = 8000

/** Finds how large a request body gets through. Generates nothing: it pads a small request with blanks. */
export async function findBodyLimit (session: CheckSession, facts: CheckFacts): Promise<void> {
  const route = facts.routes?.has('POST /internal/progress') === false ? '/sdapi/v1/samplers' : '/internal/progress'
  const expected = (await session.ask('POST', route, padded(0))).status
  let accepted = 0
  let refused: { bytes: number, status: number | null } | null = null
  let wasSlow = false

  async function tryBody (bytes: number): Promise<boolean> {
    const answer = await session.ask('POST', route, padded(bytes), bodyTimeout).catch((error: unknown): RawAnswer | null => {
      if (error instanceof GenerationFailure && error.failureClass !== 'cancelled') return null
      throw error
    })
    if (answer?.status === expected) {
      accepted = Math.max(accepted, bytes)
      wasSlow ||= answer.milliseconds > slowBody
      return true
    }
    refused = { bytes, status: answer?.status ?? null }
    return false
  }

  for (const bytes of bodySizes) {
    if (bytes > session.limits.largestBody || wasSlow) break
    if (!await tryBody(bytes)) break
  }
  const first = refused as { bytes: number, status: number | null } | null
  if (first !== null) {
    // One connection can break by chance; and only a route that reads its body distinguishes a limit from an early
    // answer.
    const isSure = first.status === 413 || (route === '/internal/progress' && !await tryBody(first.bytes))
    if (!isSure) throw new NotFoundOut(`The connection broke at ${inMebibytes(first.bytes)}, which need not be a limit.`)
    let smallest = first.bytes
    for (let round = 0; round < narrowings; round++) {
      const middle = Math.round((accepted + smallest) / 2)
      if (!await tryBody(middle)) smallest = middle
    }
    facts.learned.bodyAcceptedBytes = accepted
    facts.learned.bodyRefusedBytes = smallest
    const said = first.status === null ? 'the connection breaks' : `status ${first.status}`
    const isSmall = smallest < 20 * mebibyte
    addFinding(facts, 'body_limit', isSmall ? 'harm' : 'note', `Request bodies above about ${inMebibytes(accepted)} are ` +
      `rejected (${said}).${isSmall ? ' Jobs with input images can be larger.' : ''}`,
    'Raise the limit of the proxy, such as client_max_body_size of nginx, or register the server\'s own address.')
    return
  }
  facts.learned.bodyAcceptedBytes = accepted
  facts.learned.bodyRefusedBytes = null
  addFinding(facts, 'body_limit', 'good', `Request bodies of up to ${inMebibytes(accepted)} get through` +
    (wasSlow ? '; larger ones were not tried, as that took long.' : '; larger ones were not tried.'))
}

/** JSON that any server reads quickly. */
function padded (bytes: number): Buffer {
  const body = '{"id_task":"stablequeue-check","live_preview":false'
  return Buffer.concat([Buffer.from(body), Buffer.alloc(Math.max(0, bytes - body.length - 1), ' '), Buffer.from('}')])
}

function inMebibytes (bytes: number): string {
  return `${(bytes / mebibyte).toFixed(1).replace(/\.0$/, '')} MiB`
}

/** Statuses with which proxies report that they waited too long. */
const timeoutStatuses = [408, 502, 504, 520, 522, 524]
const maxSteps = 150
/** From a broken connection to the probe whether the server is still there, in milliseconds. */
const settle = 500

/** A generation that was shorter than planned by this factor is repeated once, with the measured pace. */
const closeEnough = 0.85

interface LongCall {
  readonly seconds: number
  /** Null if the connection broke. */
  readonly answer: RawAnswer | null
  readonly failure: GenerationFailure | null
}

/** Finds whether a proxy waits as long as a generation takes; without `minutes` it only uses earlier findings. */
export async function findTimeLimit (session: CheckSession, facts: CheckFacts): Promise<void> {
  const { minutes } = facts.requested
  if (minutes === null) {
    throw new NotFoundOut('Only a longer generation shows a time limit; set minutes (--minutes) to run one. Answers got through after ' +
      `up to ${facts.longestAnswerSeconds.toFixed(1)} s.`)
  }
  let call = await generateFor(session, facts, minutes * 60)
  if (isWhole(call) && call.seconds < minutes * 60 * closeEnough) call = await generateFor(session, facts, minutes * 60)
  const { answer, failure, seconds } = call
  if (failure?.failureClass === 'timeout') throw new NotFoundOut(`The generation took longer than ${Math.round(seconds)} s.`)
  if (answer === null || timeoutStatuses.includes(answer.status)) {
    facts.learned.timeLimitSeconds = rounded(seconds)
    const how = answer === null ? 'the connection was cut' : `status ${answer.status}`
    addFinding(facts, 'time_limit', 'harm', `A proxy gives up after about ${rounded(seconds)} s (${how}); longer generations fail.`,
      'Raise its limit, such as proxy_read_timeout of nginx, or register the server\'s own address.')
    return
  }
  if (!isWhole(call)) throw new NotFoundOut(`The longer generation failed (status ${answer.status}).`)
  facts.learned.timeLimitSeconds = null
  facts.learned.timePassedSeconds = rounded(seconds)
  addFinding(facts, 'time_limit', 'good', `No time limit was met: an answer got through after ${rounded(seconds)} s.`)
}

/** Makes one generation of about this duration, by the learned pace of the server. */
async function generateFor (session: CheckSession, facts: CheckFacts, wanted: number): Promise<LongCall> {
  const images = Math.max(1, Math.ceil(wanted / facts.secondsPerStep / maxSteps))
  const steps = Math.min(maxSteps, Math.max(1, Math.ceil(wanted / facts.secondsPerStep / images)))
  try {
    const answer = await session.generate({
      steps, fields: { n_iter: images, send_images: false }, timeoutMs: wanted * 3000 + 60_000
    })
    const seconds = answer.milliseconds / 1000
    if (answer.status === 200) facts.secondsPerStep = seconds / (steps * images)
    return { seconds, answer, failure: null }
  } catch (error) {
    if (!(error instanceof GenerationFailure) || error.failureClass === 'cancelled') throw error
    const seconds = session.lastTook() / 1000
    // A server that is gone does not show a time limit.
    await sleep(settle, undefined, { signal: session.signal })
    await session.client.progress(null, { signal: session.signal })
    return { seconds, answer: null, failure: error }
  }
}

function isWhole ({ answer }: LongCall): boolean {
  return answer?.status === 200
}

function rounded (seconds: number): number {
  return Math.round(seconds * 10) / 10
}
