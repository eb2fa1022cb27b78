import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { repeatEach } from '../lib/beat.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { readOrCreateSecretFile } from '../lib/secret-file.ts'
import type { Bucket } from './bucket.ts'

/** Where media are: a folder or a bucket. Its mark is also in Redis, so that no process uses another one by mistake. */
export interface MediaHome {
  /** The setting and its value, for people. */
  readonly shown: string
  readonly kind: 'folder' | 'bucket'
  /** Null if it has none. */
  readMark (): Promise<HomeMark | null>
  /** The mark that it has, or this one. */
  markOnce (mark: HomeMark): Promise<HomeMark>
  replaceMark (mark: HomeMark): Promise<void>
}

export interface HomeMark {
  readonly id: string
  /** Ids of homes whose files were all copied to this one, the last first. */
  readonly after: readonly string[]
}

const markName = 'data-id'
const mime = 'text/plain'

export function folderHome (directory: string): MediaHome {
  const path = join(directory, markName)
  return {
    shown: `DATA_DIR is ${directory}`,
    kind: 'folder',
    async readMark () {
      return await readFile(path, 'utf8').then(parseMark, (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return null
        throw error
      })
    },
    markOnce: async mark => parseMark((await readOrCreateSecretFile(path, () => textOf(mark))).value),
    async replaceMark (mark) {
      await mkdir(directory, { recursive: true, mode: 0o750 })
      const draft = `${path}.${randomUUID()}`
      try {
        await writeFile(draft, `${textOf(mark)}\n`, { mode: 0o600, flush: true })
        await rename(draft, path)
      } finally {
        await rm(draft, { force: true })
      }
    }
  }
}

export function bucketHome (bucket: Bucket): MediaHome {
  async function readMark (): Promise<HomeMark | null> {
    const bytes = await bucket.readAll(markName)
    return bytes === null ? null : parseMark(bytes.toString())
  }

  async function write (mark: HomeMark, which: 'new' | 'any'): Promise<void> {
    await bucket.put(markName, Buffer.from(`${textOf(mark)}\n`), mime, which)
  }

  return {
    shown: `MEDIA_URL is ${bucket.shown}`,
    kind: 'bucket',
    readMark,
    async markOnce (mark) {
      const known = await readMark()
      if (known !== null) return known
      await write(mark, 'new')
      return await readMark() ?? mark
    },
    replaceMark: async mark => { await write(mark, 'any') }
  }
}

export interface HomeClaim {
  readonly redis: Redis
  readonly keys: Keys
  readonly home: MediaHome
  /** Names this process. */
  readonly processId: string
  /** Whether the operator says that this home is the right one from now on. */
  readonly adopt: boolean
  readonly log: Log
}

const knownKey = (keys: Keys) => keys.key('data-id')
/** Processes that use a home, by the time until which they are known to live. */
const usersKey = (keys: Keys) => keys.key('home-users')
/** How long a process counts as alive, in milliseconds, and how often it says so, in seconds. */
const lifetime = 30_000
const beatSeconds = 10

/**
 * Why this home does not belong to the data in Redis, and what to do; null if it does, or if Redis knows of none yet.
 * @throws Error if the mark cannot be read
 */
export async function foreignHome ({ redis, keys, home }: Pick<HomeClaim, 'redis' | 'keys' | 'home'>): Promise<string | null> {
  // In this order: a process that starts at the same time writes the mark before it writes to Redis.
  const known = await redis.get(knownKey(keys))
  const mark = known === null ? null : await home.readMark()
  if (known === null || known === mark?.id || mark?.after.includes(known) === true) return null
  const cures = home.kind === 'folder'
    ? 'Give every process of this Redis the same folder, such as one volume in all containers, or one bucket: set MEDIA_URL ' +
      'to the same in all of them, then each can have a folder of its own'
    : 'Give every process of this Redis the same MEDIA_URL. If the files are still in the former place, copy them with ' +
      '`stablequeue media copy` first'
  return `${home.shown}, which is not the ${home.kind} that belongs to the data in Redis: images would be missing there. ` +
    `${cures}. Two installations on one Redis need two settings of REDIS_PREFIX. If this ${home.kind} is meant to be the right ` +
    'one from now on, for example because the former one is lost or Redis was restored, start one process once with ' +
    '--adopt-data-dir'
}

/**
 * For the start: refuses a home other than the one of the processes before. A Redis that knows of none takes this one.
 * @returns ends the claim
 * @throws Error with a sentence that says what to do
 */
export async function claimHome (claim: HomeClaim): Promise<() => Promise<void>> {
  const { redis, keys, home, log } = claim
  let foreign: string | null = null
  let id: string | null = null
  try {
    const before = await redis.get(knownKey(keys))
    foreign = await foreignHome(claim)
    if (foreign === null || claim.adopt) id = (await home.markOnce({ id: randomUUID(), after: [] })).id
    if (id !== null && foreign !== null) foreign = await adoptHome(claim, id)
    if (id !== null && foreign === null) {
      // A home to which everything was copied takes the place of the former one.
      if (before !== null && before !== id) await redis.set(knownKey(keys), id)
      else await redis.set(knownKey(keys), id, 'NX')
      // Of two at once, one is first.
      foreign = await foreignHome(claim)
    }
  } catch (error) {
    // A disk or a Redis that takes no writes now is reported elsewhere, and is no reason not to start.
    log.warn({ err: error }, 'it is not known whether the media belong to this Redis')
  }
  if (foreign !== null) throw new Error(foreign)
  return id === null ? async () => {} : announce(claim, id)
}

/** Yes, once: not while a process lives that uses the former home. @returns why not; null if it is done */
async function adoptHome ({ redis, keys, home, log }: HomeClaim, id: string): Promise<string | null> {
  const alive = await redis.zrangebyscore(usersKey(keys), Date.now(), '+inf')
  const other = alive.map(text => text.split(' ')).find(([used]) => used !== id)
  if (other !== undefined) {
    const [, , host = '', pid = ''] = other
    return `--adopt-data-dir: the process ${pid} on ${host} uses another place for media and is still alive. ` +
      `Stop it, wait ${lifetime / 1000} seconds if it was killed, and start again; ${home.shown} here`
  }
  await redis.set(knownKey(keys), id)
  log.warn({ id }, `${home.shown}: it belongs to the data in Redis from now on, and images of the former place are missing; ` +
    '--adopt-data-dir is not needed any more')
  return null
}

/** Says that this process lives and uses the home. Returns what ends that. */
function announce ({ redis, keys, processId }: HomeClaim, id: string): () => Promise<void> {
  const member = [id, processId, hostname(), process.pid].join(' ')
  const say = async () => {
    await redis.pipeline().zadd(usersKey(keys), Date.now() + lifetime, member)
      .zremrangebyscore(usersKey(keys), '-inf', Date.now() - lifetime).exec()
  }
  // Without Redis nothing can be said, and Redis is the more urgent fault.
  const sayQuietly = () => { say().catch(() => undefined) }
  const stop = repeatEach(beatSeconds, sayQuietly)
  sayQuietly()
  return async () => {
    stop()
    await redis.zrem(usersKey(keys), member).catch(() => undefined)
  }
}

function parseMark (text: string): HomeMark {
  const [id = '', ...after] = text.trim().split(/\s+/)
  return { id, after: after.filter(word => word !== 'after') }
}

function textOf ({ id, after }: HomeMark): string {
  return [id, ...after.map(other => `after ${other}`)].join('\n')
}
