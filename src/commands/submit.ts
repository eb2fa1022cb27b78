import { spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import type { DryRunAnswer, GenerateAnswer } from '../../schemas/generate.ts'
import type { JobView } from '../../schemas/job.ts'
import { messageOf, UsageError } from '../lib/errors.ts'
import { exitCodes, followJob, showProgress } from './follow.ts'
import { type Output, printJson } from './output.ts'
import type { Service } from './service.ts'

/** Options of `submit`, as commander reads them. */
export interface SubmitOptions {
  readonly server?: string
  readonly negative?: string
  readonly steps?: number
  readonly size?: { readonly width: number, readonly height: number }
  readonly cfg?: number
  readonly sampler?: string
  readonly seed?: string
  readonly model?: string
  readonly count?: number
  readonly priority?: number
  readonly background?: boolean
  readonly image?: string
  readonly mask?: string
  readonly denoising?: number
  readonly set?: Readonly<Record<string, unknown>>
  readonly idempotencyKey?: string
  readonly output?: string
  readonly open?: boolean
  readonly wait: boolean
  readonly dryRun?: boolean
  readonly json?: boolean
}

/**
 * Submits a job and waits for it.
 * @param prompt `-` reads it from the standard input
 * @returns the exit code
 * @throws ServiceFailure, UsageError
 */
export async function submit (
  service: Service, prompt: string, options: SubmitOptions, output: Output
): Promise<number> {
  const { wait, json = false, open = false, output: target, dryRun = false } = options
  if (!wait && (open || target !== undefined)) {
    throw new UsageError('--output and --open need the images, so they do not go with --no-wait.')
  }
  const body = requestOf(prompt === '-' ? (await readAll(process.stdin)).trim() : prompt, options)
  const answer = await service.ask('POST', '/api/v2/generate', body,
    options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }) as GenerateAnswer
  for (const { message } of answer.warnings) output.note(`Note: ${message}\n`)
  if (dryRun || !wait) {
    if (json) printJson(output, answer)
    else output.out(dryRun ? dryText(answer) : `${answer.job_id}\n`)
    return 0
  }

  const leaving = new AbortController()
  const leave = () => { leaving.abort() }
  process.once('SIGINT', leave)
  const progress = showProgress(output)
  if (output.width === null) output.note(`Job ${answer.job_id}\n`)
  try {
    const job = await followJob(service, answer.job_id, {
      onEvent: progress.event, onAway: progress.away, signal: leaving.signal
    })
    progress.end()
    return await report(service, job, options, output)
  } catch (error) {
    if (!leaving.signal.aborted) throw error
    progress.end()
    output.note(`The job goes on. See it with: stablequeue watch ${answer.job_id}\n`)
    return 130
  } finally {
    process.off('SIGINT', leave)
  }
}

function dryText ({ target_server_alias: server, queue_position: position }: Pick<DryRunAnswer, 'target_server_alias' | 'queue_position'>): string {
  return `Would run at ${server === 'default' ? 'the first free server' : server}${position === null ? '' : `, as number ${position}`}.\n`
}

function requestOf (prompt: string, options: SubmitOptions) {
  const { server = 'default', priority, background, dryRun, image, mask, set = {} } = options
  if (prompt === '' && image === undefined) throw new UsageError('The prompt is empty.')
  if (mask !== undefined && image === undefined) throw new UsageError('--mask needs --image.')
  const parameters = {
    prompt,
    negative_prompt: options.negative,
    steps: options.steps,
    width: options.size?.width,
    height: options.size?.height,
    cfg_scale: options.cfg,
    sampler_name: options.sampler,
    seed: options.seed,
    checkpoint_name: options.model,
    n_iter: options.count,
    init_images: image === undefined ? undefined : [base64Of(image, '--image')],
    mask: mask === undefined ? undefined : base64Of(mask, '--mask'),
    denoising_strength: options.denoising,
    ...set
  }
  return {
    target_server_alias: server,
    app_type: 'command-line',
    source_info: 'stablequeue submit',
    generation_params: parameters,
    ...priority === undefined ? {} : { priority },
    ...background === undefined ? {} : { background },
    ...dryRun === true ? { dry_run: true } : {}
  }
}

function base64Of (path: string, option: string): string {
  try {
    return readFileSync(path).toString('base64')
  } catch (error) {
    throw new UsageError(`${option}: ${path} cannot be read: ${messageOf(error)}`)
  }
}

/** Prints the result of a job that ended, and keeps or opens its images. @returns the exit code */
async function report (
  service: Service, job: JobView, { output: target, open = false, json = false }: SubmitOptions, output: Output
): Promise<number> {
  const images = job.images.filter(({ role }) => role === 'image')
  const paths = target !== undefined || open ? await saveImages(service, images, target) : []
  if (json) printJson(output, job)
  else if (job.status === 'completed') output.out(linesOf(paths.length > 0 ? paths : images.map(({ url }) => service.addressOf(url))))
  if (job.status !== 'completed') output.note(`${endText(job)}\n`)
  if (open) for (const path of paths) openFile(path)
  return exitCodeOf(job)
}

const linesOf = (lines: readonly string[]) => lines.map(line => `${line}\n`).join('')

export const exitCodeOf = ({ status }: JobView): number => status === 'pending' || status === 'processing' ? 1 : exitCodes[status]

/** How a job ended, as a sentence. */
export function endText ({ id, status, error }: JobView): string {
  if (status === 'failed') return `Job ${id} failed: ${error?.message ?? 'no reason given'}`
  return status === 'cancelled' ? `Job ${id} was cancelled.` : `Job ${id} completed.`
}

/**
 * @param target a folder, or for one image the name of a file that ends as images do; a new folder for temporary files
 * if none is given
 * @returns the paths
 */
async function saveImages (service: Service, images: JobView['images'], target: string | undefined): Promise<string[]> {
  const isFile = target !== undefined && /\.(png|jpe?g|webp|avif)$/i.test(target) && !isFolder(target)
  if (isFile && images.length > 1) {
    throw new UsageError(`--output ${target} is one file, but there are ${images.length} images; name a folder.`)
  }
  const folder = target === undefined ? await mkdtemp(join(tmpdir(), 'stablequeue-')) : isFile ? dirname(target) : target
  await mkdir(folder, { recursive: true })
  const paths: string[] = []
  for (const { url, filename } of images) {
    const path = isFile ? target : join(folder, basename(filename))
    await writeFile(path, await service.bytes(url))
    paths.push(path)
  }
  return paths
}

function isFolder (path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

/** Shows a file with the program of the system for it. */
function openFile (path: string): void {
  const [program, ...parameters] = process.env.STABLEQUEUE_OPENER !== undefined
    ? [process.env.STABLEQUEUE_OPENER]
    : { darwin: ['open'], win32: ['cmd', '/c', 'start', '""'] }[process.platform as string] ?? ['xdg-open']
  const child = spawn(program ?? 'xdg-open', [...parameters, path], { stdio: 'ignore', detached: true })
  child.on('error', error => { process.stderr.write(`${path} cannot be shown: ${messageOf(error)}\n`) })
  child.unref()
}
