import { readFile } from 'node:fs/promises'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { onNotices, quick, startService, type Service } from '../helper.ts'
import { faultKinds } from '../../src/simulator/faults/faults.ts'
import type { Fault, FaultKind } from '../../src/simulator/simulator.ts'
import { inRepository } from '../root.ts'
import { maxSends } from '../../src/jobs/job.ts'
import { checkInvariants } from './invariants.ts'

interface Expectation {
  /** Its name in docs/faults.md. */
  readonly name: string
  /** The simulator's fault. */
  readonly kind: FaultKind
  readonly fault?: Omit<Fault, 'kind'>
  /** The job's parameters beside the usual ones. */
  readonly parameters?: Readonly<Record<string, unknown>>
  /** Time limit of the server for it, in seconds. */
  readonly timeoutSeconds?: number
  readonly status: 'completed' | 'failed'
  /** Code of the job's error; null if it succeeds. */
  readonly code: string | null
  /** Codes of the attempts before its end. */
  readonly attempts: readonly string[]
  readonly warnings?: readonly string[]
  /** How many generations it took at the server. */
  readonly generations: number
  /** How many of them count against the allowed attempts. */
  readonly used: number
  /** The server's state meanwhile, if not healthy; its queue was paused then. */
  readonly held?: 'no' | 'unauthorized' | 'suspected'
  /** What its error says. */
  readonly says?: RegExp
  /** What happens once the job has each of these numbers of attempts. */
  readonly remedy?: { readonly after: readonly number[], readonly what: (service: Service) => Promise<unknown> }
}

/** The default of JOB_ATTEMPTS. */
const attemptsAllowed = 3
const sticky = { sticky: true } as const
/** A time after which it comes back would be too short for a busy machine, which has to notice that it is away. */
const away = { refuseMilliseconds: Infinity } as const
const comeBack = async ({ simulator }: Service) => { await simulator.crash(0) }
const heal = async ({ simulator }: Service) => { simulator.setFaults([]) }
const grey = sharp({ create: { width: 64, height: 64, channels: 3, background: 'grey' } })

async function takePasswordBack (service: Service): Promise<void> {
  const { simulator, services } = service
  await comeBack(service)
  const [server] = services.registry.list()
  const state = async () => (await services.states.read(server?.id ?? ''))?.reachable
  while (await state() !== 'unauthorized') await new Promise(resolve => { setTimeout(resolve, 20) })
  await simulator.restart({ auth: null })
}

const first = 'first.safetensors'
const second = 'second.safetensors'
const unit = { module: 'canny', model: 'control_v11p_sd15_canny', image: (await grey.png().toBuffer()).toString('base64') }

/** The effect of each fault of a server on a job, its queue and the server. Every queue continues afterwards. */
const table: readonly Expectation[] = [
  { name: 'the server dies when a request arrives', kind: 'crash-before', fault: away, status: 'completed', code: null, attempts: ['connection_lost'], generations: 1, used: 0, held: 'no', remedy: { after: [1], what: comeBack } },
  { name: 'the server dies under a generation', kind: 'crash-mid', fault: away, status: 'completed', code: null, attempts: ['connection_lost'], generations: 2, used: 0, held: 'no', remedy: { after: [1], what: comeBack } },
  { name: 'the server dies before it answers', kind: 'crash-after', fault: away, status: 'completed', code: null, attempts: ['connection_lost'], generations: 2, used: 0, held: 'no', remedy: { after: [1], what: comeBack } },
  { name: 'servers die twice under the same job', kind: 'crash-mid', fault: { ...away, ...sticky }, status: 'failed', code: 'quarantined', attempts: ['connection_lost', 'connection_lost'], generations: 2, used: 0, held: 'no', remedy: { after: [1, 2], what: comeBack } },
  { name: 'the server comes back with other models', kind: 'other-models', fault: { ...away, checkpoints: [second] }, parameters: { checkpoint_name: first }, status: 'failed', code: 'checkpoint_not_found', attempts: ['connection_lost', 'checkpoint_not_found'], generations: 0, used: 0, held: 'no', remedy: { after: [1], what: comeBack } },
  { name: 'the server asks for another password', kind: 'other-password', fault: away, status: 'completed', code: null, attempts: ['connection_lost'], generations: 1, used: 0, held: 'unauthorized', remedy: { after: [1], what: takePasswordBack } },
  { name: 'a proxy says that the server is away', kind: 'proxy-away', status: 'completed', code: null, attempts: ['bad_gateway'], generations: 1, used: 0, held: 'no' },
  { name: 'a proxy says so of one request', kind: 'bad-gateway', status: 'completed', code: null, attempts: ['bad_gateway'], generations: 1, used: 1 },
  { name: 'a proxy says so of one request each time', kind: 'bad-gateway', fault: sticky, status: 'failed', code: 'bad_gateway', attempts: ['bad_gateway', 'bad_gateway'], generations: 0, used: 1, says: /502.*Other requests get through to Main/ },
  { name: 'a proxy gives up waiting', kind: 'gateway-timeout', status: 'completed', code: null, attempts: ['bad_gateway'], generations: 2, used: 1 },
  { name: 'a proxy gives up waiting each time', kind: 'gateway-timeout', fault: { ...sticky, afterMilliseconds: 60 }, status: 'failed', code: 'bad_gateway', attempts: ['bad_gateway', 'bad_gateway'], generations: 2, used: 1, says: /^A proxy in front of Main gives up after 0\.\d s; this generation needs about \d(\.\d)? s\. Raise proxy_read_timeout, or register the server's own address\.$/ },
  { name: 'Cloudflare gives up waiting each time', kind: 'gateway-timeout', fault: { ...sticky, afterMilliseconds: 60, status: 524 }, status: 'failed', code: 'bad_gateway', attempts: ['bad_gateway', 'bad_gateway'], parameters: { steps: 10 }, generations: 2, used: 1, says: /gives up after/ },
  { name: 'a tunnel cuts a silent connection each time', kind: 'connection-cut', fault: { ...sticky, afterMilliseconds: 60 }, status: 'failed', code: 'bad_gateway', attempts: ['bad_gateway', 'bad_gateway'], parameters: { steps: 8 }, generations: 2, used: 1, says: /gives up after/ },
  { name: 'a firewall refuses one request', kind: 'forbidden', fault: sticky, status: 'failed', code: 'forbidden', attempts: ['forbidden', 'forbidden'], generations: 0, used: 1, says: /firewall/ },
  { name: 'a proxy wants a login for one request', kind: 'login-redirect', fault: sticky, status: 'failed', code: 'redirected', attempts: ['redirected', 'redirected'], generations: 0, used: 1, says: /302/ },
  { name: 'a web page comes with status 200', kind: 'html-answer', fault: sticky, status: 'failed', code: 'bad_gateway', attempts: ['bad_gateway', 'bad_gateway'], generations: 0, used: 1, says: /web page/ },
  { name: 'the server fails without a known reason', kind: 'exception-group', status: 'completed', code: null, attempts: ['server_error'], generations: 2, used: 1 },
  { name: 'the server fails so each time', kind: 'exception-group', fault: sticky, status: 'failed', code: 'server_error', attempts: ['server_error', 'server_error'], generations: 2, used: 1 },
  { name: 'the server cannot do what is asked', kind: 'runtime-error', fault: { ...sticky, message: 'Prompt S/R did not find zebra in prompt' }, status: 'failed', code: 'request_failed', attempts: ['request_failed'], generations: 1, used: 0, says: /zebra/ },
  { name: 'the server runs out of memory', kind: 'out-of-memory', status: 'completed', code: null, attempts: ['out_of_memory'], generations: 2, used: 1 },
  { name: 'the server runs out of memory twice', kind: 'out-of-memory', fault: sticky, status: 'failed', code: 'out_of_memory', attempts: ['out_of_memory', 'out_of_memory'], generations: 2, used: 1 },
  { name: 'the checkpoint makes NaNs', kind: 'nan', status: 'failed', code: 'nan', attempts: ['nan'], generations: 1, used: 0 },
  { name: 'CUDA is poisoned', kind: 'cuda-poisoned', status: 'completed', code: null, attempts: ['cuda_poisoned', 'cuda_poisoned'], generations: 3, used: 2, held: 'suspected', remedy: { after: [2], what: async ({ simulator }) => { await simulator.restart({}) } } },
  { name: 'an answer breaks off', kind: 'cut-body', status: 'completed', code: null, attempts: ['truncated_answer'], generations: 2, used: 1 },
  { name: 'an answer is no JSON', kind: 'truncated-json', status: 'completed', code: null, attempts: ['truncated_answer'], generations: 2, used: 1 },
  { name: 'an image is no base64', kind: 'corrupt-base64', status: 'completed', code: null, attempts: ['corrupt_image'], generations: 2, used: 1 },
  { name: 'an image is none', kind: 'corrupt-image', status: 'completed', code: null, attempts: ['corrupt_image'], generations: 2, used: 1 },
  { name: 'an answer has no image', kind: 'wrong-image-count', fault: { count: 0 }, status: 'completed', code: null, attempts: ['no_images'], generations: 2, used: 1 },
  { name: 'images are missing', kind: 'wrong-image-count', parameters: { batch_size: 2 }, status: 'completed', code: null, attempts: [], warnings: ['fewer_images'], generations: 1, used: 0 },
  { name: 'the server takes another checkpoint', kind: 'wrong-checkpoint', parameters: { checkpoint_name: first }, status: 'completed', code: null, attempts: [], warnings: ['different_checkpoint'], generations: 1, used: 0 },
  { name: 'the server makes another size', kind: 'wrong-size', status: 'completed', code: null, attempts: [], warnings: ['different_size'], generations: 1, used: 0 },
  { name: 'a script leaves no trace (ADetailer)', kind: 'script-error', parameters: { alwayson_scripts: { ADetailer: { args: [true, false, { ad_model: 'face_yolov8n.pt' }] } } }, status: 'completed', code: null, attempts: [], warnings: ['script_not_applied'], generations: 1, used: 0 },
  { name: 'the answer has a GIF, MP4, WebM or AVIF', kind: 'other-media', fault: { media: ['gif', 'mp4', 'webm', 'avif'] }, status: 'completed', code: null, attempts: [], generations: 1, used: 0 },
  { name: 'the answer has something unknown beside images', kind: 'other-media', fault: { media: ['unknown'], beside: true }, status: 'completed', code: null, attempts: [], warnings: ['unknown_media'], generations: 1, used: 0 },
  { name: '`info` has a bare NaN or Infinity', kind: 'bare-nan', status: 'completed', code: null, attempts: [], generations: 1, used: 0 },
  { name: 'the server takes another seed', kind: 'wrong-seed', status: 'completed', code: null, attempts: [], warnings: ['different_seed'], generations: 1, used: 0 },
  { name: 'an extension fails', kind: 'script-error', parameters: { alwayson_scripts: { controlnet: { args: [unit] } } }, status: 'completed', code: null, attempts: [], warnings: ['control_not_applied'], generations: 1, used: 0 },
  { name: 'a generation is slow', kind: 'slow', fault: { factor: 5 }, status: 'completed', code: null, attempts: [], generations: 1, used: 0 },
  { name: 'a generation takes longer than it may', kind: 'slow', fault: { factor: 200 }, timeoutSeconds: 1, status: 'failed', code: 'deadline_passed', attempts: ['deadline_passed'], generations: 1, used: 0 },
  { name: 'progress stands still while the generation goes on', kind: 'progress-freeze', status: 'completed', code: null, attempts: [], generations: 1, used: 0 },
  { name: 'a person uses the same server', kind: 'human-job', status: 'completed', code: null, attempts: [], generations: 1, used: 0 }
]

/** Those that only `STALL_SECONDS` ends. */
const standstills: readonly Expectation[] = ([
  ['a generation stands still', 'hang'],
  ['a checkpoint never finishes loading', 'hang-loading'],
  ['the server takes a request and never begins', 'stuck-lock']
] as const).map(([name, kind]) => ({
  name, kind, status: 'completed', code: null, attempts: ['stalled'], generations: 2, used: 1, held: 'suspected', remedy: { after: [1], what: heal }
}))

/**
 * Images of maximum size are a fault only for their receiver; missing routes and finished images have tests of their
 * own.
 */
const elsewhere: readonly FaultKind[] = ['missing-route', 'noise', 'cannot-load']

async function check (t: Test, service: Service, accepted: string[], expectation: Expectation): Promise<void> {
  const { kind, fault, parameters, timeoutSeconds, remedy } = expectation
  const { status, code, attempts, warnings = [], generations, used, held, says = /./ } = expectation
  const { simulator, services } = service
  const [server] = services.registry.list()
  const serverId = server?.id ?? ''
  await services.registry.update(serverId, { jobTimeoutSeconds: timeoutSeconds ?? null })
  const begun = Date.now()
  simulator.reset()
  simulator.setFaults([{ ...fault, kind, prompt: 'faulty' }])
  const id = await service.submit({ ...quick, prompt: 'faulty', steps: 20, ...parameters })
  const next = await service.submit(quick)
  accepted.push(id, next)
  for (const count of remedy?.after ?? []) {
    await onNotices(services, async () => (await service.job(id)).attempts.length >= count || undefined)
    await remedy?.what(service)
  }
  const job = await service.until(id, 'completed', 'failed', 'cancelled')
  t.equal(job.status, status)
  t.equal(job.error?.code ?? null, code)
  if (code !== null) t.match(job.error?.message, says)
  t.same(job.attempts.map(({ code }) => code), attempts)
  t.same((job.warnings as Array<{ code: string }>).map(({ code }) => code), warnings)
  await services.registry.update(serverId, { jobTimeoutSeconds: null })
  t.equal((await service.until(next, 'completed', 'failed')).status, 'completed', 'the line goes on')
  const seen = simulator.state()
  t.equal(seen.generations.filter(({ taskId }) => taskId === id).length, generations)
  t.equal(seen.maxInFlight, 1, 'nothing was sent while something was under way')
  const record = await services.store.get(id)
  t.equal(record.usedAttempts, used)
  t.ok((seen.sends[id] ?? 0) <= maxSends(record, attemptsAllowed), 'it was not sent more often than it may be')
  const states = (await services.states.history.read(serverId)).filter(({ at, reachable }) => at >= begun && reachable !== 'yes')
  if (held === undefined) t.same(states, [], 'the server was well all the time')
  else t.ok(states.some(({ reachable }) => reachable === held), `the line was held: ${held}`)
  if (kind === 'out-of-memory') t.ok((seen.requests['POST /sdapi/v1/unload-checkpoint'] ?? 0) > 0, 'memory was freed')
  if (code === 'deadline_passed') t.match(seen.generations[0], { taskId: id, interrupted: true })
  if (kind === 'human-job') t.match(seen.generations, [{ mode: 'human', interrupted: false }, { taskId: id }])
  if (status === 'failed' && kind !== 'other-models') {
    // An answer that takes longer than a proxy waited for others resets its time limit for the next row.
    simulator.setFaults(fault?.afterMilliseconds === undefined ? [] : [{ kind: 'slow', factor: 5, prompt: 'faulty' }])
    t.equal((await service.request('POST', `/api/v2/jobs/${id}/retry`)).status, 200)
    t.match(await service.until(id, 'completed', 'failed'), { status: 'completed', error: null }, 'a retry gives it another life')
  }
  await checkInvariants(t, accepted, {
    look: services.redis, keys: services.keys, dataDirectory: service.dataDirectory
  })
}

t.test('each fault of a server', async t => {
  const service = await startService(t, {
    simulator: { stepMilliseconds: 10, checkpoints: [first, second], scripts: ['ADetailer'] },
    settings: { JOB_ATTEMPTS: String(attemptsAllowed) }
  })
  const accepted: string[] = []
  for (const expectation of table) {
    await t.test(expectation.name, async t => { await check(t, service, accepted, expectation) })
    if (expectation.kind !== 'other-models') continue
    await service.simulator.restart({ checkpoints: [first, second] })
    await service.request('POST', '/api/v1/servers/Main/test')
  }
})

t.test('each fault that stalls a generation', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 10 }, settings: { STALL_SECONDS: '3' } })
  const accepted: string[] = []
  for (const expectation of standstills) {
    await t.test(expectation.name, async t => { await check(t, service, accepted, expectation) })
  }
})

t.test('docs/faults.md has a row for each of these and no other, and every fault is among them', async t => {
  const page = await readFile(inRepository('docs', 'faults.md'), 'utf8')
  const rows = [...page.matchAll(/^\| ([^|]+?) \| `([^|]+)` \|/gm)].map(([, name, kind]) => [name, kind])
  t.same(rows.toSorted(), [...table, ...standstills].map(({ name, kind }) => [name, kind]).toSorted())
  const shown = new Set([...table, ...standstills].map(({ kind }) => kind))
  t.same(faultKinds.filter(kind => !shown.has(kind)), elsewhere)
})

t.test('docs/faults.md names a test for each of the other rows', async t => {
  const [, page = ''] = (await readFile(inRepository('docs', 'faults.md'), 'utf8')).split('## When something else breaks')
  const rows = page.split('\n').filter(line => /^\| (?!what breaks)/.test(line))
  t.ok(rows.length > 0)
  for (const row of rows) {
    const [, file = '', title = ''] = /\| `([a-z0-9/-]+)` ([^|]+?) \|$/.exec(row) ?? []
    const path = file.includes('/') ? file : `faults/${file}`
    const code = await readFile(inRepository('test', `${path}.test.ts`), 'utf8')
    t.ok(code.includes(`t.test('${title}',`), `${file}: ${title}`)
  }
})
