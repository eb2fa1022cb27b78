import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Webhook } from 'standardwebhooks'
import { quick, startService } from '../helper.ts'
import { inRepository } from '../root.ts'
import { freePort } from '../support/free-port.ts'

/** Runs the programs of the page for authors of receivers as they would run them. */
const root = inRepository('')
const page = await readFile(inRepository('docs/webhooks.md'), 'utf8')
const service = await startService(t, { settings: { EGRESS_PROFILE: 'lan' } })
const secret = service.services.webhooks.signingKeys.ownSecret
const folder = await mkdtemp(join(tmpdir(), 'sq-receivers-'))
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

interface Language {
  readonly fence: string
  readonly program: string
  readonly probe: readonly string[]
  readonly run: (file: string) => readonly string[]
  /** Its path on every machine that runs the complete test. */
  readonly inCI: 'needed' | 'welcome'
}

const languages: Readonly<Record<string, Language>> = {
  // From standard input, a module finds the packages of the current folder.
  Node: { fence: 'js', program: process.execPath, probe: ['--version'], run: () => ['--input-type=module', '-'], inCI: 'needed' },
  Python: { fence: 'python', program: 'python3', probe: ['--version'], run: file => [file], inCI: 'needed' },
  Go: { fence: 'go', program: 'go', probe: ['version'], run: file => ['run', file], inCI: 'welcome' }
}

const environment = {
  PATH: process.env.PATH, HOME: process.env.HOME, GOCACHE: process.env.GOCACHE, GOTOOLCHAIN: 'local', WEBHOOK_SECRET: secret
}

/** Runs the program of the page; `lines` are its output. */
async function startProgram (t: Test, { fence, program, run }: Language) {
  const [, code] = new RegExp(`\`\`\`${fence}\\n(.*?)\`\`\``, 's').exec(page) ?? []
  if (code === undefined) throw new Error(`the page has no ${fence}`)
  const file = join(folder, `receiver.${fence}`)
  await writeFile(file, code)
  const port = await freePort()
  const child = spawn(program, run(file), {
    cwd: root, env: { ...environment, PORT: String(port) }, stdio: ['pipe', 'pipe', 'pipe'], detached: true
  })
  const ended = once(child, 'close')
  t.teardown(async () => {
    // With all its children: `go run` starts the program that it has built.
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
    await ended
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => { output += text.toString() })
  child.stdin.end(fence === 'js' ? code : '')
  const url = `http://127.0.0.1:${port}/hook`
  while (await fetch(url).then(() => false, () => true)) {
    if (child.exitCode !== null) throw new Error(`it ended: ${output}`)
    await sleep(50)
  }
  return { url, lines: () => output.split('\n').filter(line => line !== '') }
}

/** Resolves when this many attempts of the job's delivery have reached the receiver. */
async function delivered (jobId: string, attempts: number): Promise<string> {
  for (;;) {
    const [delivery] = await service.services.webhooks.deliveries.ofJob(jobId)
    if (delivery?.state === 'delivered' && delivery.attempts === attempts) return delivery.id
    if (delivery?.state === 'failed') throw new Error(delivery.reason ?? '')
    await sleep(20)
  }
}

/** A delivery as we would send it, signed by the public library. */
async function send (url: string, { id, sequence, seconds = Date.now() / 1000, signedWith = secret, body }: {
  readonly id: string
  readonly sequence: number
  readonly seconds?: number
  readonly signedWith?: string
  readonly body?: string
}): Promise<number> {
  const text = JSON.stringify({ type: 'job.progress', data: { id: 'some-job', sequence } })
  const timestamp = new Date(Math.floor(seconds) * 1000)
  const { status } = await fetch(url, {
    method: 'POST',
    headers: {
      'webhook-id': id,
      'webhook-timestamp': String(timestamp.getTime() / 1000),
      'webhook-signature': `v1,c3R1ZmY= ${new Webhook(signedWith).sign(id, timestamp, text)}`
    },
    body: body ?? text
  })
  return status
}

for (const [name, language] of Object.entries(languages)) {
  t.test(`the receiver in ${name} accepts each event once, the newest only, and nothing forged`, async t => {
    const { error } = spawnSync(language.program, language.probe, { env: environment })
    if (error !== undefined) {
      const sentence = `${language.program} is not on this machine, so its receiver was not run`
      if (language.inCI === 'needed' && process.env.CI === 'true') t.fail(`${sentence}; the whole check needs it`)
      else t.comment(sentence)
      return
    }
    const receiver = await startProgram(t, language)
    const jobId = await service.submit(quick, { webhookUrl: receiver.url })
    const event = await delivered(jobId, 1)
    await service.request('POST', `/api/v1/webhooks/deliveries/${event}/redeliver`)
    await delivered(jobId, 2)

    const now = Date.now() / 1000
    t.equal(await send(receiver.url, { id: 'evt_5', sequence: 5 }), 204)
    t.equal(await send(receiver.url, { id: 'evt_4', sequence: 4 }), 204, 'an older one is taken and dropped')
    t.equal(await send(receiver.url, { id: 'evt_5', sequence: 5 }), 204)
    t.equal(await send(receiver.url, { id: 'evt_6', sequence: 6, signedWith: `whsec_${'A'.repeat(44)}` }), 401)
    t.equal(await send(receiver.url, { id: 'evt_6', sequence: 6, seconds: now - 400 }), 401)
    t.equal(await send(receiver.url, { id: 'evt_6', sequence: 6, seconds: now + 400 }), 401)
    t.equal(await send(receiver.url, { id: 'evt_6', sequence: 6, body: '{"type":"job.completed"}' }), 401)
    t.equal((await fetch(receiver.url, { method: 'POST', body: '{}' })).status, 401)
    t.equal(await send(receiver.url, { id: 'evt_7', sequence: 7 }), 204)
    while (receiver.lines().length < 3) await sleep(20)
    t.same(receiver.lines(), [`job.completed ${jobId}`, 'job.progress some-job', 'job.progress some-job'])
  })
}

t.end()
