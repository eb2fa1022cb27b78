import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import type { JsonBody, Service } from '../helper.ts'

/** A small real safetensors file: one tensor whose content depends on `seed`. */
export function safetensors (metadata: Readonly<Record<string, string>>, seed = 1): Buffer {
  const tensor = Buffer.alloc(64, seed)
  const header = JSON.stringify({
    __metadata__: metadata, weight: { dtype: 'F32', shape: [16], data_offsets: [0, tensor.length] }
  })
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)))
  return Buffer.concat([length, Buffer.from(header), tensor])
}

/** A folder with these files, removed after the test. Objects are written as JSON. */
export async function folderWith (
  t: Pick<Test, 'teardown'>, files: Readonly<Record<string, Buffer | string | object>>
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sq-models-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    const plain = typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content)
    await writeFile(join(folder, name), plain)
  }
  return folder
}

export type ScanBody = JsonBody & { stats: Readonly<Record<string, unknown>> }

/** Resolves with the status of the scan when it matches. */
export async function untilScan (service: Service, fits: (status: ScanBody) => boolean): Promise<ScanBody> {
  for (;;) {
    const body = (await service.request('GET', '/api/v1/models/scan')).body as ScanBody
    if (fits(body)) return body
    await new Promise(resolve => { setTimeout(resolve, 10) })
  }
}

/** Resolves with that status when the scan is over. */
export async function scanned (service: Service): Promise<ScanBody> {
  return await untilScan(service, ({ state }) => ['completed', 'stopped', 'failed'].includes(String(state)))
}

/** Starts a scan and resolves with its status when it is over. */
export async function scan (service: Service) {
  const { status, body } = await service.request('POST', '/api/v1/models/scan')
  if (status !== 202) throw new Error(JSON.stringify(body))
  return await scanned(service)
}
