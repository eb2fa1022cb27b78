import { spawn } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ofChildren, tableOf } from './account.mjs'
import { provideTools, toolsOf } from './ecosystem/tools.mjs'
import { lint } from './lint.mjs'
import { runFiles } from './processes.mjs'
import { nodeProblem, npm, prepareBuild, prepareDependencies, run } from '../src/prepare.mjs'

/**
 * `npm test`: runs everything on a machine that has only Node, and ends with the line `N passed, N failed`. Parameters
 * go to tap; with names of test files it runs only those, without lint. `npm run test:ecosystem` runs the files of
 * test/ecosystem, which need programs of more registries than npm's and Debian's.
 */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** Development packages that the program contains, and so the tests of it do too. */
const bundledTools = /^(?:@bull-board\/.*|@opentelemetry\/.*|jsonc-parser|lru-cache|minisearch|prom-client)$/
const say = sentence => process.stdout.write(`${sentence}\n`)

/**
 * How many processes run tests: of its time, one needs a third for the processor and otherwise waits for what it tests.
 * Each compiles the service for itself.
 */
const processes = 3 * availableParallelism()
/**
 * The test files that take longest, as a whole run on an idle machine shows it. They come first: one that begins late
 * would run alone at the end, and what waits most then runs beside the browsers, which need the cores.
 */
const longest = [
  'faults/kills', 'faults/begin', 'faults/failures', 'faults/webhooks', 'faults/unknown-tasks', 'faults/blocked',
  'server-check/kills', 'web/queue', 'faults/server-start', 'api/long-texts', 'server-check/run-check',
  'web/whole-queue', 'faults/shutdown', 'faults/outages', 'api/openapi', 'web/pages', 'web/ui',
  'faults/left-options', 'faults/cancel-races', 'faults/spread', 'sdapi/takes-all', 'faults/frozen',
  'faults/own-disk', 'media/bucket', 'web/trust', 'jobs/selection', 'web/gallery', 'main/doctor-thorough',
  'web/create', 'api/needed-fields', 'launch', 'sdapi/running-options', 'web/place', 'web/texts',
  'servers/start-guard', 'web/background', 'web/public-name', 'plugins/prefix', 'faults/large-bodies', 'web/done',
  'sdapi/clients', 'web/models', 'web/operate', 'redis/embedded', 'servers/many', 'lib/http', 'api/jobs'
].map(name => join('test', `${name}.test.ts`))
const ecosystem = join('test', 'ecosystem')
/** For tsc and esbuild, which run for seconds: Go's collection of garbage takes a third of their processor time. */
const compilers = { GOGC: 'off', GOMEMLIMIT: '2GiB' }
const isSummary = /^(\d+) passed, (\d+) failed$/

/** Gives each file of a process that runs several a `t` of its own. */
const ownTest = {
  name: 'own test',
  setup ({ onResolve, onLoad }) {
    onResolve({ filter: /^tap$/, namespace: 'file' }, ({ importer }) => ({ path: importer, namespace: 'tap' }))
    onLoad({ filter: /./, namespace: 'tap' }, () => ({
      contents: "import t from 'tap'\nexport * from 'tap'\nexport default globalThis[Symbol.for('stablequeue.test')] ?? t",
      resolveDir: root
    }))
  }
}

const isAccounted = process.argv.includes('--account')
const result = await test(process.argv.slice(2).filter(parameter => parameter !== '--account'))
for (const { name, reason } of result.unreached) say(`could not be reached, and its tests are left out: ${name} (${reason})`)
for (const problem of result.problems) say(`failed: ${problem}`)
const failed = result.failed + result.problems.length
if (isAccounted) say(`${ofChildren(process.pid).toFixed(1)} s of processor time in all`)
say(`${result.passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

/** Runs every step; later steps also run after a failed one. */
async function test (parameters) {
  const problems = []
  const unreached = []
  const step = async (name, work) => {
    try {
      const problem = await work()
      if (problem) problems.push(`${name}: ${problem}`)
    } catch (error) {
      problems.push(`${name}: ${error.message}`)
    }
  }
  await step('setup', () => nodeProblem() ?? prepareDependencies(root, 'development', say))
  if (problems.length > 0) return { passed: 0, failed: 0, problems, unreached }
  Object.assign(process.env, compilers)
  const chosen = parameters.includes('--ecosystem') ? testsIn(ecosystem) : parameters.filter(isTest)
  const { browser, loadInstaller, provide, redisServer } = await import('./programs.mjs')
  const redisIsThere = step('setup', () => provide(redisServer))
  const browserIsThere = redisIsThere.then(() => step('setup', () => provide(browser)))
  const tests = (chosen.length > 0 ? chosen : allTests()).map(inRoot)
  const options = parameters.filter(parameter => !isTest(parameter) && parameter !== '--ecosystem')
  // Coverage is of single modules.
  const isPlain = options.every(option => !option.startsWith('-'))
  let folder = 'dist'
  const bundling = isPlain && step('bundle', async () => { folder = await bundleTests(tests) })
  let types
  await step('build', () => prepareBuild(root, say, async () => {
    types = checkTypes()
    // With a Redis, it stores the compiled code of a start, which spares every process of the tests the compiler.
    await redisIsThere
    await Promise.all([types, npm(root, ['run', '--silent', 'assemble'], 'Building')])
  }))
  await step('type check', () => types ?? checkTypes())
  await bundling
  for (const name of Object.keys(compilers)) delete process.env[name]
  const tools = toolsOf(tests.filter(isOfEcosystem).map(name => join(root, name)))
  if (tools.length > 0) {
    await step('setup', async () => {
      const found = await provideTools(tools, await loadInstaller(), say)
      process.env.STABLEQUEUE_TEST_TOOLS = JSON.stringify(found)
      const reasons = Object.entries(found).map(([name, { reason }]) => ({ name, reason }))
      unreached.push(...reasons.filter(({ reason }) => reason !== undefined))
    })
  }
  await browserIsThere
  // Tests wait at times, and nothing waits for lint.
  const linting = chosen.length === 0 && Promise.all([
    step('lint', lint),
    step('direction of imports', () => check('dependency-cruiser', 'depcruise', ['src', 'queues', 'plugins', 'schemas']))
  ])
  const files = tests.map(name => ({ name, path: join(folder, name).replace(/\.ts$/, '.js'), ...needsOf(name) }))
  const work = isPlain ? runBundled(files) : tap([...options, ...files.map(({ path }) => path)])
  const { passed, failed, code } = await work
  await linting
  if (code !== 0 && failed === 0) problems.push(`tap ended with ${code}`)
  if (passed + failed === 0) problems.push('no test ran')
  return { passed, failed, problems, unreached }
}

function isTest (parameter) {
  return parameter.endsWith('.test.ts')
}

/** The paths of the tests that need no registry but npm's and Debian's. */
function allTests () {
  const tests = testsIn('test').filter(name => !isOfEcosystem(name))
  return [...new Set([...longest.filter(name => tests.includes(name)), ...tests])]
}

function testsIn (folder) {
  return readdirSync(join(root, folder), { recursive: true }).filter(isTest).map(name => join(folder, name)).toSorted()
}

function isOfEcosystem (test) {
  return dirname(test) === ecosystem
}

/** Whether a test needs a process of its own, which its first comment gives the reason for, or a browser. */
function needsOf (test) {
  const path = join(root, test)
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  return { isAlone: text.includes('// A process of its own: '), needsBrowser: /from '(?:playwright-core|.*\/browser\.ts)'/.test(text) }
}

/** The path of a test in the repository, whichever way it was named. */
function inRoot (test) {
  return relative(root, resolve(root, test))
}

/** Loads in half of the time that single modules take; returns where it is. */
async function bundleTests (tests) {
  const { bundle } = await import('../src/bundle.mjs')
  const { devDependencies } = readJson(join(root, 'package.json'))
  const tools = Object.keys(devDependencies).filter(name => !bundledTools.test(name))
  await bundle(tests, 'bundled-tests', tools, [ownTest])
  return 'dist/bundled-tests'
}

/**
 * Checks and compiles everything, for less than compiling the service and then checking it again with the tests.
 * Several checkers would each work out the types that they share: four take twice the processor time of one.
 */
async function checkTypes () {
  const incremental = ['--incremental', '--tsBuildInfoFile', 'dist/.tsbuildinfo']
  const problem = await check('@typescript/native', 'tsc', ['--checkers', '1', ...incremental])
  return problem ?? await check('@typescript/native', 'tsc', ['-p', 'web'])
}

/** Runs a development tool of node_modules; returns its output if it fails. */
async function check (module, tool, parameters) {
  const { code, output } = await run(process.execPath, [executable(module, tool), ...parameters], root)
  return code === 0 ? undefined : `${tool} ended with ${code}\n${output}`
}

function readJson (path) {
  return JSON.parse(readFileSync(path, 'utf8'))
}

function executable (module, tool) {
  const folder = join(root, 'node_modules', module)
  const { bin } = readJson(join(folder, 'package.json'))
  return join(folder, typeof bin === 'string' ? bin : bin[tool])
}

/** Runs tap's own command. Holds back its last line, because problems outside the tests count too. */
function tap (parameters) {
  return new Promise(resolve => {
    const result = { passed: 0, failed: 0, code: null }
    const child = spawn(process.execPath, [executable('tap', 'tap'), ...parameters], {
      cwd: root, stdio: ['ignore', 'pipe', 'inherit']
    })
    const lines = createInterface({ input: child.stdout })
    lines.on('line', line => {
      const summary = isSummary.exec(line)
      if (summary) Object.assign(result, { passed: Number(summary[1]), failed: Number(summary[2]) })
      else say(line)
    })
    const closed = new Promise(resolve => lines.once('close', resolve))
    child.once('close', async (code, signal) => {
      await closed
      resolve({ ...result, code: code ?? signal })
    })
  })
}

/** Runs bundled tests. */
async function runBundled (files) {
  const { default: Reporter } = await import('./reporter.mjs')
  const reporter = new Reporter()
  const lines = createInterface({ input: reporter })
  lines.on('line', line => { if (!isSummary.test(line)) say(line) })
  const closed = new Promise(resolve => lines.once('close', resolve))
  // Building the image takes minutes.
  const timeout = files.some(({ name }) => isOfEcosystem(name)) ? 1_500_000 : 400_000
  await runFiles(files, processes, withoutHooks(), reporter, { timeout, endTimeout: 15_000 })
  await closed
  for (const line of isAccounted ? tableOf(reporter.account) : []) say(line)
  return { passed: reporter.passed, failed: reporter.failed, code: 0 }
}

/**
 * An environment in which tap does not record the modules that each file loads. Its hooks for that take as long as
 * loading the service, and only coverage and `--changed` need the records.
 */
function withoutHooks () {
  const program = `
    import module from 'node:module'
    const { register } = module
    module.register = () => { module.register = register }
  `
  const options = [process.env.NODE_OPTIONS, `--import=data:text/javascript,${encodeURIComponent(program)}`]
  return { ...process.env, NODE_OPTIONS: options.filter(Boolean).join(' '), ...isAccounted && { STABLEQUEUE_TEST_ACCOUNT: '1' } }
}
