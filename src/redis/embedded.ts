import { resolve } from 'node:path'
import type { Log } from '../log.ts'
import { lockDataDirectory } from './data-directory.ts'
import { provideRedisProgram } from './install.ts'
import { openServerFiles } from './server-files.ts'
import { adoptServer, launchServer, relaunchServer, stopServer } from './server.ts'
import { superviseServer } from './supervisor.ts'

export interface EmbeddedRedis {
  /** Understood by ioredis itself and by `connectRedis`; stays the same when Redis is started again. Secret. */
  readonly url: string
  /** Version, address and process id, for people. */
  readonly description: string
  /** Ends Redis after everything is written, and frees the data directory. */
  stop (): Promise<void>
}

export interface EmbeddedRedisOptions {
  /** The setting DATA_DIR; the private Redis keeps its files in the folder `redis` there. */
  dataDirectory: string
  /** The setting REDIS_SERVER; empty: looked for in PATH, and installed where that is possible. */
  program?: string
  log: Log
  /** Gives up a start that is under way, which may take long where there is much data. */
  signal?: AbortSignal
}

/**
 * Starts the private Redis of a data directory, or adopts the one that outlived an earlier process. It is started
 * again when it ends by itself.
 * @throws Error with a sentence for people: directory in use, no Redis to be had, Redis does not start
 */
export async function startEmbeddedRedis (options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const { program, log, signal = new AbortController().signal } = options
  const directory = resolve(options.dataDirectory)
  const lock = await lockDataDirectory(directory, log)
  try {
    const files = await openServerFiles(directory)
    const setup = { files, log, program: await provideRedisProgram(program, sentence => log.info(sentence)) }
    const adopted = await adoptServer({ ...setup, signal })
    const server = adopted ?? await launchServer({ ...setup, signal })
    log.info(`${adopted ? 'Adopted' : 'Started'} the ${server.description}`)
    const supervisor = superviseServer({
      server, log, restart: (last, signal) => relaunchServer(last, { ...setup, signal })
    })
    return {
      url: server.url,
      description: server.description,
      stop: async () => {
        await stopServer(await supervisor.stop(), files)
        await lock.release()
      }
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}
