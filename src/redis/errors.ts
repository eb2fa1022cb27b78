/** Why Redis did not carry out a command, and whether it even received it. */
export interface RedisProblem {
  /**
   * `refused`: Redis answered that it does not do this now. `silent`: it gave no answer in time. `away`: there is no
   * connection to it.
   */
  readonly kind: 'refused' | 'silent' | 'away'
  /** Redis' own word for it, such as `OOM`; empty if it gave none. */
  readonly code: string
  /** In plain words, without arguments of commands, keys or addresses. */
  readonly reason: string
}

/** A command was not sent, because Redis leaves others without an answer. */
export class RedisSilence extends Error {
  override readonly name = 'RedisSilence'
}

/** Meaning of Redis' error codes for an operator. https://redis.io/docs/latest/develop/reference/protocol-spec/ */
const refusals: Readonly<Record<string, string>> = {
  OOM: 'Redis has reached its memory limit (maxmemory)',
  READONLY: 'this Redis is a read-only replica',
  MISCONF: 'Redis cannot write to its disk',
  NOREPLICAS: 'Redis has fewer replicas than it needs to accept writes (min-replicas-to-write)',
  CLUSTERDOWN: 'the Redis Cluster is down',
  MOVED: 'this Redis is a node of a Redis Cluster and does not hold all keys',
  ASK: 'this Redis is a node of a Redis Cluster and does not hold all keys',
  CROSSSLOT: 'this Redis is a node of a Redis Cluster and does not hold all keys',
  TRYAGAIN: 'the Redis Cluster is moving keys',
  NOPERM: 'the Redis user has no right to a command, key or channel that this needs (ACL)',
  NOAUTH: 'Redis asks for a password',
  WRONGPASS: 'Redis does not accept the user or password',
  LOADING: 'Redis is still loading its data',
  BUSY: 'Redis is busy with a script that does not end',
  MASTERDOWN: 'this Redis is a replica that has lost its master'
}

const codes = Object.keys(refusals).join('|')
/** At the start, or at the point where Redis 6 puts a command's error within the error of the calling script. */
const codeInReply = new RegExp(`^-?(${codes})\\b|\\s-(${codes})\\s`)
/** Redis' own sentences for which it has no code, or has it in newer versions only. */
const uncoded: ReadonlyArray<readonly [RegExp, string]> = [
  [/ACL failure in script|user executing the script can't (run|access)/, 'NOPERM'],
  [/max number of clients/, 'MAXCLIENTS'],
  [/^EXECABORT/, 'EXECABORT']
]
const uncodedReasons: Readonly<Record<string, string>> = {
  MAXCLIENTS: 'Redis has reached its limit of connections (maxclients)',
  EXECABORT: 'Redis rejected a transaction'
}

const connectionCodes = new Set<unknown>(['ECONNREFUSED', 'ECONNRESET', 'EPIPE'])
const connectionMessage = /^(Stream isn't writeable|Connection is closed|Socket closed|Socket timeout)/
/** Errors within errors are followed no further than this. */
const deepest = 5

/**
 * The fault of Redis, if that is why something failed: also if the error lies within another one, as with transactions
 * and scripts. Null for every other error.
 */
export function redisProblemOf (error: unknown, depth = 0): RedisProblem | null {
  if (!(error instanceof Error) || depth > deepest) return null
  const { previousErrors } = error as { previousErrors?: unknown }
  const inner = [error.cause, ...Array.isArray(previousErrors) ? previousErrors as unknown[] : []]
  for (const part of inner) {
    const problem = redisProblemOf(part, depth + 1)
    if (problem !== null) return problem
  }
  return ownProblem(error)
}

function ownProblem (error: Error): RedisProblem | null {
  const { name, message } = error
  if (name === 'ReplyError') return refusalIn(message)
  if (name === 'RedisSilence' || message === 'Command timed out') {
    return { kind: 'silent', code: '', reason: 'Redis does not answer' }
  }
  const { code } = error as { code?: unknown }
  if (name === 'MaxRetriesPerRequestError' || connectionCodes.has(code) || connectionMessage.test(message)) {
    return { kind: 'away', code: '', reason: 'Redis cannot be reached' }
  }
  return null
}

function refusalIn (message: string): RedisProblem | null {
  const [, first, second] = codeInReply.exec(message) ?? []
  const code = first ?? second ?? uncoded.find(([pattern]) => pattern.test(message))?.[1]
  if (code === undefined) return null
  return { kind: 'refused', code, reason: refusals[code] ?? uncodedReasons[code] ?? code }
}
