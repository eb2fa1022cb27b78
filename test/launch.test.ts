import t, { type Test } from 'tap'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { inRepository } from './root.ts'

const source = inRepository('src')

/** The main module of a small checkout: prints its arguments, and with `wait` ends only by a signal. */
const mainSource = `
import { word } from 'dependency'
export function main (argv) {
  console.log(word, ...argv)
  if (!argv.includes('wait')) return
  process.once('SIGTERM', () => process.exit(7))
  setInterval(() => {}, 60_000)
}
`

/** A checkout that installs without a registry and builds without a compiler. */
async function makeCheckout (t: Test): Promise<string> {
  const root = t.testdir({
    'package.json': JSON.stringify({
      name: 'checkout', version: '1.0.0', type: 'module', scripts: { build: 'node build.mjs' }, dependencies: { dependency: 'file:dependency' }
    }),
    'package-lock.json': JSON.stringify({
      name: 'checkout',
      version: '1.0.0',
      lockfileVersion: 3,
      packages: {
        '': { name: 'checkout', version: '1.0.0', dependencies: { dependency: 'file:dependency' } },
        dependency: { version: '1.0.0' },
        'node_modules/dependency': { resolved: 'dependency', link: true }
      }
    }),
    dependency: {
      'package.json': JSON.stringify({ name: 'dependency', version: '1.0.0', type: 'module', main: 'index.js' }),
      'index.js': 'export const word = "installed"\n'
    },
    'tsconfig.json': '{}',
    'tsconfig.build.json': JSON.stringify({ include: ['src'] }),
    'build.mjs': `
      import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
      if (readFileSync('src/main/cli.ts', 'utf8').includes('BROKEN')) throw new Error('cli.ts is broken')
      mkdirSync('dist/src/main', { recursive: true })
      copyFileSync('src/main/cli.ts', 'dist/src/main/cli.js')
    `,
    src: { main: { 'cli.ts': mainSource } }
  })
  for (const file of ['launch.mjs', 'load.mjs', 'prepare.mjs']) await cp(join(source, file), join(root, 'src', file))
  return root
}

interface Outcome { code: number | null, out: string, err: string }

function start (root: string, ...parameters: string[]): { child: ChildProcess, outcome: Promise<Outcome> } {
  const child = spawn(process.execPath, ['src/launch.mjs', ...parameters], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const outcome: Outcome = { code: null, out: '', err: '' }
  child.stdout.on('data', chunk => { outcome.out += chunk })
  child.stderr.on('data', chunk => { outcome.err += chunk })
  return { child, outcome: once(child, 'close').then(([code]) => ({ ...outcome, code })) }
}

const launch = (root: string, ...parameters: string[]) => start(root, ...parameters).outcome

/** Makes a file look newer than all others. */
async function touch (path: string): Promise<void> {
  const soon = new Date(Date.now() + 2000)
  await utimes(path, soon, soon)
}

t.test('a fresh checkout is installed and built once, with messages', async t => {
  const root = await makeCheckout(t)
  const first = await launch(root, 'start', '--port', '1')
  t.match(first, { code: 0, out: 'installed start --port 1\n' })
  t.match(first.err, /^Installing dependencies \(node_modules is missing\)…\nBuilding \(there is no finished build\)…\n$/)
  t.same(await launch(root, 'start'), { code: 0, out: 'installed start\n', err: '' }, 'the next start does neither')
})

t.test('a changed source is built again; a broken one is rejected with the compiler\'s output', async t => {
  const root = await makeCheckout(t)
  const main = join(root, 'src/main/cli.ts')
  await launch(root)
  await writeFile(main, mainSource.replace('word,', '"changed",'))
  await touch(main)
  t.match(await launch(root), { code: 0, out: /^changed/, err: 'Building (src changed)…\n' })
  await writeFile(main, 'BROKEN')
  await touch(main)
  t.match(await launch(root), { code: 1, out: '', err: /Building failed: npm run .*cli\.ts is broken/s })
  await rm(join(root, 'dist'), { recursive: true })
  await writeFile(main, mainSource)
  t.match(await launch(root), { code: 0, out: /^installed/ })
})

t.test('two first starts at once share one installation', async t => {
  const root = await makeCheckout(t)
  const both = await Promise.all([launch(root, 'one'), launch(root, 'two')])
  t.same(both.map(({ code }) => code), [0, 0])
  t.same(both.map(({ out }) => out).sort(), ['installed one\n', 'installed two\n'])
  t.equal(both.filter(({ err }) => err.includes('Installing')).length, 1)
  t.equal(both.filter(({ err }) => err.includes('Building')).length, 1)
})

t.test('the lock of a killed start does not stop the next one', async t => {
  const root = await makeCheckout(t)
  const gone = spawnSync(process.execPath, ['--version']).pid
  await mkdir(join(root, 'dist'))
  await writeFile(join(root, 'dist/.preparing'), String(gone))
  t.match(await launch(root), { code: 0, out: /^installed/ })
})

t.test('a signal to the launcher reaches the service, whose exit code becomes the command\'s', async t => {
  const root = await makeCheckout(t)
  const { child, outcome } = start(root, 'wait')
  child.stdout?.once('data', () => child.kill('SIGTERM'))
  t.match(await outcome, { code: 7, out: 'installed wait\n' })
})

t.test('a signal during installing or building is reported, and ends the running step', async t => {
  for (const [signal, code] of [['SIGTERM', 143], ['SIGINT', 130]] as const) {
    const root = await makeCheckout(t)
    await writeFile(join(root, 'build.mjs'), `
      import { writeFileSync } from 'node:fs'
      process.once('SIGTERM', () => { writeFileSync('ended', ''); process.exit(1) })
      setInterval(() => {}, 60_000)
      writeFileSync('begun', '')
    `)
    const { child, outcome } = start(root, 'wait')
    while (!existsSync(join(root, 'begun'))) await sleep(10)
    child.kill(signal)
    t.match(await outcome, { code, out: '', err: new RegExp(`Stopped by ${signal} while starting`) })
    while (!existsSync(join(root, 'ended'))) await sleep(10)
  }
})

t.test('an installed package is neither installed nor built again', async t => {
  const root = await makeCheckout(t)
  await launch(root)
  for (const file of ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json']) await rm(join(root, file))
  await touch(join(root, 'src/main/cli.ts'))
  t.same(await launch(root, 'api'), { code: 0, out: 'installed api\n', err: '' })
  await rm(join(root, 'dist'), { recursive: true })
  t.match(await launch(root), { code: 1, err: /dist\/src\/main\/cli\.js is missing: this installation is incomplete/ })
})

/** A bundle as src/bundle.mjs writes it. Its second line is line 7 of a module. */
const bundleSource = (hash: string, word: string) => `/*${hash}*/(function (exports, require, module, __filename, __dirname, bundledDist) {
  exports.main = async argv => { console.log('${word}', bundledDist.endsWith('/dist/'), ...argv); if (argv[1]) throw new Error('broken') }
})`

t.test('a bundle keeps its compiled code, and its stack traces name the sources', async t => {
  const root = await makeCheckout(t)
  await launch(root)
  for (const file of ['tsconfig.json', 'tsconfig.build.json']) await rm(join(root, file))
  const folder = join(root, 'dist/bundle')
  await mkdir(folder)
  await writeFile(join(folder, 'cli.cjs'), bundleSource('a1', 'first'))
  await writeFile(join(folder, 'cli.cjs.lines'), `${JSON.stringify(['../../src/main/cli.ts', '../../node_modules/a/b.js'])}\n\n0 1,20 0 7\n`)
  const broken = await launch(root, 'keys', 'fail')
  t.match(broken, { code: 1, out: 'first true keys fail\n' })
  t.match(broken.err, 'Error: broken\n    at ')
  t.match(broken.err, `${join(root, 'src/main/cli.ts')}:7`)

  const cached = async () => await readdir(join(folder, 'cli.cjs.cache')).catch(() => [])
  // A process that lives long enough for its compiled code to be stored.
  const serve = async () => {
    const { child, outcome } = start(root, 'start')
    if (child.stdout !== null) await once(child.stdout, 'data')
    return { child, outcome }
  }
  t.same(await cached(), [], 'a command that ends at once stores nothing')
  await writeFile(join(folder, 'cli.cjs'), bundleSource('b2', 'second').replace('exports.main', 'setInterval(() => {}, 60_000); exports.main'))
  const first = await serve()
  while ((await cached()).length === 0) await sleep(20)
  first.child.kill('SIGKILL')
  await first.outcome
  t.match(await cached(), [/^start-[\da-f]+-b2$/])
  t.match((await launch(root, 'start', 'fail')).out, 'second true start fail\n', 'it runs with that code')

  await writeFile(join(folder, 'cli.cjs.cache', (await cached())[0] ?? ''), 'no code')
  t.match((await launch(root, 'start', 'fail')).out, 'second true start fail\n', 'and without it if that is damaged')
  await writeFile(join(folder, 'cli.cjs'), bundleSource('c3', 'third').replace('exports.main', 'setInterval(() => {}, 60_000); exports.main'))
  t.match((await launch(root, 'start', 'fail')).out, 'third true start fail\n', 'never with that of another build')
})

t.test('npm decides which packages are missing, and development tools are needed only for building', async t => {
  const wanted = {
    packages: {
      '': {},
      'node_modules/fastify': { version: '5.0.0' },
      'node_modules/tap': { version: '21.0.0', dev: true },
      'node_modules/other-platform': { version: '1.0.0', optional: true }
    }
  }
  const problem = async (installed: Record<string, unknown>, need: 'production' | 'development') => {
    const root = t.testdir({
      'package-lock.json': JSON.stringify(wanted),
      node_modules: { '.package-lock.json': JSON.stringify({ packages: installed }) }
    })
    return describe(root, need)
  }
  const fastify = { 'node_modules/fastify': { version: '5.0.0' } }
  t.equal(await problem(fastify, 'production'), undefined)
  t.equal(await problem(fastify, 'development'), 'tap is missing')
  t.equal(await problem({}, 'production'), 'fastify is missing')
  t.equal(await problem({ 'node_modules/fastify': { version: '4.0.0' } }, 'production'), 'package-lock.json changed: fastify')
  const interrupted = t.testdir({ 'package-lock.json': JSON.stringify(wanted), node_modules: {} })
  t.equal(await describe(interrupted, 'production'), 'node_modules is incomplete')
})

t.test('if the machine cannot have a Redis, the start says so before it installs anything', async t => {
  const root = await makeCheckout(t)
  const withoutRedis = (settings: Record<string, string>) => {
    const child = spawn(process.execPath, ['src/launch.mjs', 'start'], {
      cwd: root, stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: '/nonexistent', ...settings }
    })
    let err = ''
    child.stderr.on('data', chunk => { err += chunk })
    return once(child, 'close').then(([code]) => ({ code: code as number | null, err }))
  }
  t.match(await withoutRedis({}), { code: 1, err: /^StableQueue needs Redis: install redis-server .*or set REDIS_URL/ })
  t.match(await withoutRedis({ REDIS_SERVER: 'no-such' }), { code: 1, err: /^REDIS_SERVER is no-such, but there is no/ })
  t.match(await withoutRedis({ REDIS_URL: 'redis://elsewhere' }), { err: /^Installing dependencies/ }, 'none is needed')
  await writeFile(join(root, '.env'), 'REDIS_URL=redis://elsewhere\n')
  t.notMatch(await withoutRedis({}), { err: /needs Redis/ })
})

t.test('the start names the required Node on an older one', async t => {
  const { nodeProblem } = await prepareModule()
  t.equal(nodeProblem(), undefined)
  for (const version of ['24.0.0', '20.19.0', '22.1.0']) t.equal(nodeProblem(version), undefined, version)
  for (const version of ['20.18.3', '18.20.0']) {
    t.match(nodeProblem(version), `StableQueue needs Node 20.19 or newer, but this is Node ${version}`)
  }
  const { engines } = JSON.parse(await readFile(inRepository('package.json'), 'utf8'))
  t.equal(engines.node, '>=20.19', 'package.json says the same')
})

interface PrepareModule {
  nodeProblem (version?: string): string | undefined
  dependencyProblem (root: string, need: 'production' | 'development'): string | undefined
}

/** Plain JavaScript, because it runs before there is a compiler. */
async function prepareModule (): Promise<PrepareModule> {
  const address: string = pathToFileURL(inRepository('src/prepare.mjs')).href
  return import(address)
}

async function describe (root: string, need: 'production' | 'development'): Promise<string | undefined> {
  return (await prepareModule()).dependencyProblem(root, need)
}
