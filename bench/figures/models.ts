import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Caller } from '../environment/caller.ts'
import { withEnvironment } from '../environment/environment.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { asRatio, inMebibytes, inMilliseconds, now, quantile, spread } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'catalogue of 5,000 model files'

const count = 5000
const times = 60
/** Bytes of tensors in each file. */
const tensorBytes = 16_384
const subjects = ['film grain', 'watercolor', 'lighthouse', 'pixel art', 'portrait', 'landscape', 'ink', 'neon city']

/** Whole requests and whole scans. The limit of a scan is one plain loop that reads and hashes the same files. */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const folder = join(environment.folder, 'models')
    const paths = await writeModels(folder)
    const service = await startService(environment, {
      command: 'start',
      servers: {},
      settings: { SIMULATOR: 'off', LOCAL_A1111_URL: 'http://127.0.0.1:9', MODELS_DIR: folder }
    })
    const first = await scanTime(service.caller)
    const plain = await hashPlainly(paths)
    await service.caller.post('/api/v1/models/scan')
    const again = await scanTime(service.caller)
    const memory = await residentBytes(service.pid)
    const row = (figure: string, found: readonly number[], goal: number): Row => ({
      figure: `${about}: ${figure}`,
      measured: spread(found),
      limit: '',
      ratio: '',
      goal: `p99 ≤ ${goal} ms`,
      ok: quantile(found, 0.99) <= goal
    })
    const page = async (query: string) => await measurePage(service.caller, `/api/v1/models?limit=50&${query}`)
    return [
      {
        figure: `${about}: first scan with hashes`,
        measured: inMilliseconds(first),
        limit: `read and hash alone ${inMilliseconds(plain)}`,
        ratio: asRatio(first, plain),
        goal: '',
        ok: null
      },
      { figure: `${about}: rescan, nothing changed`, measured: inMilliseconds(again), limit: '', ratio: '', goal: '', ok: null },
      { figure: `${about}: memory of the process`, measured: inMebibytes(memory), limit: '', ratio: '', goal: '', ok: null },
      row('page of 50', await page('offset=2500'), 50),
      row('page of one type', await page('type=lora'), 50),
      row('search, a phrase', await page('search=film%20grain'), 50),
      row('search, words out of order', await page('search=grain%20film%2012'), 50),
      row('search, misspelled', await page('search=watercolr'), 50)
    ]
  })
}

async function writeModels (folder: string): Promise<string[]> {
  const paths: string[] = []
  for (const name of ['Stable-diffusion', 'Lora', 'Lora/styles', 'VAE']) await mkdir(join(folder, name), { recursive: true })
  for (let index = 0; index < count; index++) {
    const subject = subjects[index % subjects.length] ?? ''
    const place = index % 10 === 0 ? 'Stable-diffusion' : index % 10 === 1 ? 'VAE' : index % 2 === 0 ? 'Lora' : 'Lora/styles'
    const stem = join(folder, place, `${subject.replace(' ', '-')}-${index}`)
    await writeFile(`${stem}.safetensors`, modelFile(index, subject))
    if (index % 2 === 0) {
      await writeFile(`${stem}.json`, JSON.stringify({
        description: `A model about ${subject}, made for measuring.`, 'activation text': `${subject}, style ${index}`, 'sd version': 'SDXL'
      }))
    }
    paths.push(`${stem}.safetensors`)
  }
  return paths
}

function modelFile (index: number, subject: string): Buffer {
  const header = Buffer.from(JSON.stringify({
    __metadata__: {
      'modelspec.title': `${subject} ${index}`,
      'modelspec.architecture': 'stable-diffusion-xl-v1-base/lora',
      ss_tag_frequency: JSON.stringify({ set: { [subject]: 20, [`tag ${index % 300}`]: 5 } })
    },
    weight: { dtype: 'F32', shape: [tensorBytes / 4], data_offsets: [0, tensorBytes] }
  }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  const tensors = Buffer.alloc(tensorBytes, index % 251)
  tensors.writeUInt32LE(index)
  return Buffer.concat([length, header, tensors])
}

/** Milliseconds between begin and end of the last scan, once it is over. */
async function scanTime (caller: Caller): Promise<number> {
  let scan = { state: '', started_at: '', ended_at: '', stats: { total: 0 } }
  await until(async () => {
    scan = await caller.get('/api/v1/models/scan') as typeof scan
    return scan.state === 'completed'
  }, 'the scan is complete')
  if (scan.stats.total !== count) throw new Error(`the scan met ${scan.stats.total} files instead of ${count}`)
  return Date.parse(scan.ended_at) - Date.parse(scan.started_at)
}

async function hashPlainly (paths: readonly string[]): Promise<number> {
  const began = now()
  for (const path of paths) createHash('sha256').update(await readFile(path)).digest('hex')
  return now() - began
}

async function measurePage (caller: Caller, path: string): Promise<number[]> {
  const found: number[] = []
  for (let index = 0; index < times + 3; index++) {
    const began = now()
    const { models } = await caller.get(path) as { models: unknown[] }
    if (models.length === 0) throw new Error(`${path} found nothing`)
    found.push(now() - began)
  }
  // building the list and the index falls upon the first
  return found.slice(3)
}

async function residentBytes (pid: number): Promise<number> {
  const [, kibibytes = ''] = /^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kibibytes) * 1024
}
