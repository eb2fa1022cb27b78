import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as installer from '../../src/redis/private/install.ts'
import { findFreePort } from '../../src/redis/private/server.ts'
import { type Environment, withEnvironment } from '../environment/environment.ts'
import { releaseJobs } from '../environment/release.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, inMicroseconds, inMilliseconds, median, now, perSecond } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'media in a bucket beside media in a folder'

const rounds = 3
const perRound = 200
const fetched = 50

interface Tools {
  provideTools (
    names: readonly string[], from: typeof installer, say: (sentence: string) => void
  ): Promise<Record<string, { readonly path?: string, readonly reason?: string }>>
}

/** The tools of the tests are no part of the build. */
const tools = new URL('../../../test/ecosystem/tools.mjs', import.meta.url).href

/** A small image each, stored in the folder and in moto's S3 in turn. Moto is a test server: its own time is in all. */
export async function measure (): Promise<Row[]> {
  const { provideTools } = await import(tools) as Tools
  const { moto: { path, reason = '' } = {} } = await provideTools(['moto'], installer, sentence => { process.stderr.write(`${sentence}\n`) })
  if (path === undefined) {
    return [{ figure: about, measured: 'not measured', limit: `moto cannot be reached: ${reason}`, ratio: '', goal: '', ok: null }]
  }
  return await withEnvironment(async folder => await withEnvironment(async bucket => {
    const settings = await startMoto(bucket, path)
    const sides = { folder: await open(folder, {}), bucket: await open(bucket, settings) }
    const found = { folder: [] as Side[], bucket: [] as Side[] }
    for (let round = 0; round < rounds; round++) {
      for (const name of ['folder', 'bucket'] as const) found[name].push(await sides[name]())
    }
    const of = (name: keyof typeof found, which: keyof Side) => median(found[name].map(side => side[which]))
    const row = (figure: string, which: keyof Side, inWords: (value: number) => string): Row => ({
      figure: `${figure}, media in a bucket`,
      measured: inWords(of('bucket', which)),
      limit: `in a folder ${inWords(of('folder', which))}`,
      ratio: asRatio(of('bucket', which), of('folder', which)),
      goal: '',
      ok: null
    })
    return [
      row('jobs per second with an instant server', 'rate', perSecond),
      row('processor time of a job', 'used', inMicroseconds),
      row('time for an image', 'image', inMilliseconds)
    ]
  }))
}

interface Side {
  readonly rate: number
  readonly used: number
  /** Median time of a request for an output, in milliseconds. */
  readonly image: number
}

interface Gallery { readonly images: ReadonlyArray<{ readonly filename: string }> }

/** @returns what measures one round */
async function open (environment: Environment, settings: Readonly<Record<string, string>>) {
  const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 0 } })
  const service = await startService(environment, { command: 'start', servers: { Main: upstream.url }, settings })
  return async (): Promise<Side> => {
    const released = await releaseJobs(environment, service, upstream, perRound)
    const { images } = await service.caller.get(`/api/v1/gallery?limit=${fetched}`) as Gallery
    const times: number[] = []
    for (const { filename } of images) {
      const began = now()
      await (await fetch(`${service.url}/outputs/${filename}`)).arrayBuffer()
      times.push(now() - began)
    }
    return { ...released, image: median(times) }
  }
}

/** @returns the settings of its bucket */
async function startMoto (environment: Environment, python: string) {
  const port = await findFreePort()
  const child = spawn(python, ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
  environment.onClose(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const endpoint = `http://127.0.0.1:${port}`
  await until(async () => await fetch(endpoint).then(() => true, () => false), 'moto is up')
  await fetch(`${endpoint}/bench`, { method: 'PUT' })
  return { MEDIA_URL: 's3://bench/sq', S3_ENDPOINT: endpoint, S3_ACCESS_KEY_ID: 'key', S3_SECRET_ACCESS_KEY: 'secret' }
}
