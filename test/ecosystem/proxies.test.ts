import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type Service, startService } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { inRepository } from '../root.ts'
import { freePort } from '../support/free-port.ts'
import { token, tryPrograms } from './through-proxy.ts'
import { tool } from './tool.ts'

const tools = { Caddy: tool('caddy'), Traefik: tool('traefik'), HAProxy: tool('haproxy') }
const page = await readFile(inRepository('docs/reverse-proxy.md'), 'utf8')
const redis = await startTestRedis()
t.teardown(redis.stop)

/** The example of the page whose code contains this text. */
function example (text: string): string {
  const found = [...page.matchAll(/```\w+\n(.*?)```/gs)].map(([, code = '']) => code).find(code => code.includes(text))
  if (found === undefined) throw new Error(`docs/reverse-proxy.md has no example with ${text}`)
  return found
}

/** An example for this test: other addresses, no TLS. @throws Error if the example lacks what is to be replaced */
function adapted (code: string, ...changes: ReadonlyArray<readonly [from: string, to: string]>): string {
  return changes.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`an example of docs/reverse-proxy.md lacks ${from}`)
    return text.replaceAll(from, to)
  }, code)
}

interface Setup {
  /** Files by name, for a proxy that listens at this port. */
  readonly files: (port: number, target: string) => Readonly<Record<string, string>>
  readonly parameters: readonly string[]
  /** The path below which the service is. */
  readonly prefix: '' | '/queue'
}

const local = '127.0.0.1:3000'
const hostOf = (url: string) => new URL(url).host

const caddy = (text: string, host: string) => ({
  parameters: ['run', '--config', 'Caddyfile'],
  files: (port: number, target: string) => ({
    Caddyfile: `{\n  admin off\n  auto_https off\n}\n${adapted(example(text), [host, `http://127.0.0.1:${port}`], [local, hostOf(target)])}`
  })
})

const traefik = (dynamic: (target: string) => string) => ({
  parameters: ['--configFile=static.yml'],
  files: (port: number, target: string) => ({
    'static.yml': adapted(example('respondingTimeouts'), ['\':443\'', `127.0.0.1:${port}`]) + '\nproviders:\n  file:\n    filename: dynamic.yml\n',
    'dynamic.yml': dynamic(hostOf(target))
  })
})
const traefikService = (target: string) => adapted(example('flushInterval'), ['queue.example.org', '127.0.0.1'], ['      tls: {}\n', ''], [local, target])

const haproxy = (...lines: readonly string[]) => ({
  parameters: ['-f', 'haproxy.cfg'],
  files: (port: number, target: string) => ({
    'haproxy.cfg': adapted(example('default_backend'), [':443 ssl crt /etc/ssl/queue.example.org.pem', `127.0.0.1:${port}`],
      ['X-Forwarded-Proto https', 'X-Forwarded-Proto http'], [local, hostOf(target)]) + lines.map(line => `  ${line}\n`).join('')
  })
})

const setups: ReadonlyArray<readonly [program: keyof typeof tools, what: string, setup: Setup]> = [
  ['Caddy', 'a name of its own', { ...caddy('queue.example.org {\n  reverse_proxy', 'queue.example.org'), prefix: '' }],
  ['Caddy', 'a path that it strips', { ...caddy('handle_path', 'example.org'), prefix: '/queue' }],
  ['Traefik', 'a name of its own', { ...traefik(traefikService), prefix: '' }],
  ['Traefik', 'a path that it strips', {
    ...traefik(target => {
      const [, services = ''] = /(\n {2}services:.*)/s.exec(traefikService(target)) ?? []
      return adapted(example('stripPrefix'), ['`example.org`', '`127.0.0.1`'], ['      tls: {}\n', '']) + services.slice(1)
    }),
    prefix: '/queue'
  }],
  ['HAProxy', 'a name of its own', { ...haproxy(), prefix: '' }],
  ['HAProxy', 'a path that it keeps', { ...haproxy(example('set-header X-Forwarded-Prefix').split('\n').find(line => !line.startsWith('#')) ?? ''), prefix: '/queue' }]
]

for (const [program, what, { files, parameters, prefix }] of setups) {
  const { path, skip } = tools[program]
  t.test(`${program} with its example gives ${what}`, { skip }, async t => {
    const service: Service = await startService(t, {
      redis,
      settings: {
        AUTH_TOKEN: token, REDIS_PREFIX: `${program}${prefix.slice(1)}`, EGRESS_PROFILE: 'lan', TRUSTED_PROXIES: '127.0.0.1'
      }
    })
    const port = await freePort()
    const folder = t.testdir({})
    for (const [name, text] of Object.entries(files(port, service.url))) await writeFile(join(folder, name), text)
    const child = spawn(path, parameters, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: folder } })
    let said = ''
    child.stderr.on('data', chunk => { said += String(chunk) })
    t.teardown(async () => {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    })
    const root = `http://127.0.0.1:${port}${prefix}`
    while (await fetch(`${root}/health`).then(({ ok }) => !ok, () => true)) {
      if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`)
      await sleep(20)
    }
    await tryPrograms(t, service, root)
  })
}
