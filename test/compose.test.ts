import t from 'tap'
import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { loadMasterKey } from '../src/access/secrets.ts'
import { createTrustRules } from '../src/access/trust.ts'
import { parseSettings } from '../src/config/parse.ts'
import { Settings } from '../src/config/settings.ts'
import { inRepository } from './root.ts'

const read = (name: string) => readFile(inRepository(name), 'utf8')

/** A service of docker-compose.yml, as far as these tests read it. */
interface Service {
  readonly image: string
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string | number>>
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { condition: string }>>
  readonly healthcheck?: object
  readonly profiles?: readonly string[]
  readonly read_only: boolean
  readonly mem_limit: string
  readonly pids_limit: number
}

type Name = 'redis' | 'api' | 'worker' | 'simulator' | 'api-1' | 'api-2' | 'worker-1' | 'worker-2' | 'objects' | 'bucket'

async function readServices (): Promise<Record<Name, Service>> {
  return parse(await read('docker-compose.yml'), { merge: true }).services
}

/** The settings of a service, with the defaults that compose inserts. */
function settingsOf ({ environment = {} }: Service): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).map(([name, value]) =>
    [name, withDefaults(String(value))]))
}

function withDefaults (value: string): string {
  return value.replace(/\$\{\w+:-([^}]*)\}/g, '$1')
}

t.test('only the api is published, only on this machine, and trusts clients without a token only there', async t => {
  const all = await readServices()
  const { redis, api, worker, simulator } = all
  t.same(api.ports, ['127.0.0.1:3000:3000'])
  for (const service of [redis, worker, simulator, all['worker-1'], all['worker-2'], all.objects]) t.notOk(service.ports)
  t.same([all['api-1'].ports, all['api-2'].ports], [['127.0.0.1:3001:3000'], ['127.0.0.1:3002:3000']])
  t.match(settingsOf(api), { HOST: '0.0.0.0', UI_AUTH: 'none', UI_TRUSTED_CIDRS: '172.16.0.0/12,192.168.65.0/24' })
  const modeWith = (more: Record<string, string>) =>
    createTrustRules(parseSettings({ ...settingsOf(api), ...more })).mode
  t.equal(modeWith({}), 'networks')
  t.equal(modeWith({ PUBLIC_HOSTS: 'queue.example' }), 'token', 'a proxy in front looks like Docker’s network, too')
  t.equal(modeWith({ PUBLIC_URL: 'https://queue.example', TRUSTED_PROXIES: '172.16.0.0/12' }), 'networks')
})

t.test('the service knows and accepts every setting', async t => {
  const { api, worker } = await readServices()
  for (const service of [api, worker]) {
    t.same(Object.keys(settingsOf(service)).filter(name => !(name in Settings.properties)), [])
    t.match(parseSettings(settingsOf(service)), { DATA_DIR: '/data', REDIS_URL: 'redis://:stablequeue@redis:6379' })
  }
})

t.test('api and worker share image, data and Redis, and wait for Redis', async t => {
  const { api, worker } = await readServices()
  t.same([api.command, worker.command], [['api'], ['worker']])
  for (const service of [api, worker]) {
    t.equal(service.image, 'stablequeue')
    t.same(service.volumes, ['data:/data'])
    t.same(service.depends_on, { redis: { condition: 'service_healthy' } })
    t.equal(service.read_only, true)
  }
})

t.test('no service can use all memory or all processes of the machine, and Redis rejects writes before it is killed', async t => {
  const bytes = (text: string) => Number.parseInt(text) * ({ g: 1024, m: 1 }[/[gm]/.exec(text)?.[0] ?? ''] ?? 0)
  const services = await readServices()
  for (const [name, service] of Object.entries(services)) {
    const limit = withDefaults(service.mem_limit)
    t.match(limit, /^\d+[mg]$/, name)
    t.ok(bytes(limit) >= 1024, name)
    t.ok(service.pids_limit >= 64, name)
  }
  const { redis } = services
  t.match(redis.command.at(-1), '"maxmemory $$REDIS_MAXMEMORY"')
  const { REDIS_MAXMEMORY: most = '' } = settingsOf(redis)
  t.ok(bytes(most) > 0 && bytes(most) * 2 <= bytes(withDefaults(redis.mem_limit)), 'with room for a rewrite of its file')
})

t.test('Redis keeps every acknowledged write, evicts nothing and needs a password that no list of processes shows', async t => {
  const { redis } = await readServices()
  const script = redis.command.at(-1) ?? ''
  for (const line of ['requirepass $$REDIS_PASSWORD', 'appendonly yes', 'appendfsync always', 'maxmemory-policy noeviction']) {
    t.match(script, line)
  }
  t.match(script, /exec redis-server \/tmp\/redis\.conf\n$/)
  t.same(redis.volumes, ['redis:/data'])
  t.ok(redis.healthcheck)
})

t.test('the profile of several hosts has two APIs and two workers with folders of their own, and one bucket and key', async t => {
  const services = await readServices()
  const hosts = (['api-1', 'api-2', 'worker-1', 'worker-2'] as const).map(name => services[name])
  t.same(hosts.map(({ command }) => command), [['api'], ['api'], ['worker'], ['worker']])
  t.equal(new Set(hosts.flatMap(({ volumes = [] }) => volumes)).size, 4)
  for (const host of hosts) {
    t.same([host.profiles, host.image, host.read_only], [['hosts'], 'stablequeue', true])
    t.match(host.depends_on, {
      redis: { condition: 'service_healthy' }, bucket: { condition: 'service_completed_successfully' }
    })
    const settings = settingsOf(host)
    await t.rejects(loadMasterKey(parseSettings(settings)), /MASTER_KEY is \(hidden\), but must be/, 'its lack is named')
    t.match(parseSettings(settings), {
      MEDIA_URL: 's3://stablequeue/media',
      S3_ENDPOINT: 'http://objects:9000',
      S3_ACCESS_KEY_ID: settingsOf(services.objects).MINIO_ROOT_USER,
      S3_SECRET_ACCESS_KEY: settingsOf(services.objects).MINIO_ROOT_PASSWORD
    })
  }
  t.match(services.bucket.command.join(' '), /mc mb --ignore-existing objects\/stablequeue$/)
})

t.test('the simulator starts only on request', async t => {
  const { simulator } = await readServices()
  t.same(simulator.profiles, ['simulator'])
  t.match(simulator.command.join(' '), /^simulator --host 0\.0\.0\.0 --port 7860$/)
})

t.test('the image contains all that the launcher needs, and nothing that makes it install or build', async t => {
  const dockerfile = await read('Dockerfile')
  const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))
  t.match(last, 'COPY src/launch.mjs src/load.mjs src/prepare.mjs src/')
  t.notMatch(last, /COPY.*tsconfig/)
  t.match(last, /\nUSER node\n/)
  const ignored = await read('.dockerignore')
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, names = '']) => names.split(' '))
  for (const name of copied) t.match(ignored, `\n!${name.split('/')[0]}\n`, `${name} is not ignored`)
})
