import { spawn } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { nodeProblem, prepareBuild, prepareDependencies, run } from '../src/prepare.mjs'

/**
 * `npm test`: runs everything on a machine that has only Node, and ends with the line `N passed, N failed`. Parameters
 * go to tap; with names of test files it runs only those, without lint.
 */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const say = sentence => process.stdout.write(`${sentence}\n`)

/** Programs that tests use besides Node: their names, their packages, and the variable for the path. */
const programs = [
  { names: ['redis-server', 'valkey-server'], packages: { apt: 'redis-server', brew: 'redis' }, needed: true },
  {
    names: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    packages: { apt: 'chromium', brew: 'chromium' },
    variable: 'STABLEQUEUE_TEST_CHROMIUM'
  }
]

const result = await test(process.argv.slice(2))
for (const problem of result.problems) say(`failed: ${problem}`)
const failed = result.failed + result.problems.length
say(`${result.passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

/** Runs every step; later steps also run after a failed one. */
async function test (parameters) {
  const problems = []
  const step = async (name, work) => {
    try {
      const problem = await work()
      if (problem) problems.push(`${name}: ${problem}`)
    } catch (error) {
      problems.push(`${name}: ${error.message}`)
    }
  }
  await step('setup', () => nodeProblem() ?? prepareDependencies(root, 'development', say))
  if (problems.length > 0) return { passed: 0, failed: 0, problems }
  await step('build', () => prepareBuild(root, say))
  for (const program of programs) await step('setup', () => provide(program))
  const chosen = parameters.filter(isTest)
  await step('type check', () => check('@typescript/native', 'tsc', ['--incremental', '--tsBuildInfoFile', 'dist/.tests']))
  if (chosen.length === 0) await step('lint', () => check('eslint', 'eslint', ['.']))
  if (chosen.length === 0) await step('direction of imports', () => check('dependency-cruiser', 'depcruise', ['src', 'queues', 'plugins', 'schemas']))
  const tests = (chosen.length > 0 ? chosen : allTests()).map(inRoot)
  const options = parameters.filter(parameter => !isTest(parameter))
  // Coverage is of single modules.
  const isPlain = options.every(option => !option.startsWith('-'))
  let folder = 'dist'
  if (isPlain) await step('bundle', async () => { folder = await bundleTests(tests) })
  const files = tests.map(test => join(folder, test).replace(/\.ts$/, '.js'))
  const { passed, failed, code } = await tap([...options, ...files], isPlain)
  if (code !== 0 && failed === 0) problems.push(`tap ended with ${code}`)
  if (passed + failed === 0) problems.push('no test ran')
  return { passed, failed, problems }
}

function isTest (parameter) {
  return parameter.endsWith('.test.ts')
}

/** The paths of all test sources. */
function allTests () {
  return readdirSync(join(root, 'test'), { recursive: true }).filter(isTest).map(name => join('test', name)).toSorted()
}

/** The path of a test in the repository, whichever way it was named. */
function inRoot (test) {
  return relative(root, resolve(root, test))
}

/** Loads in half of the time that single modules take; returns where it is. */
async function bundleTests (tests) {
  const { bundle } = await import('../src/bundle.mjs')
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  await bundle(tests, 'bundled-tests', Object.keys(devDependencies))
  return 'dist/bundled-tests'
}

/** Finds or installs a program; returns a problem if that fails and the program is required. */
async function provide ({ names, packages, variable, needed }) {
  if (variable && process.env[variable]) return
  const compiled = join(root, 'dist/src/redis/private/install.js')
  if (!existsSync(compiled)) return `without a build there is no way to look for ${names[0]}`
  const { findProgram, installSystemPackage } = await import(pathToFileURL(compiled))
  try {
    if (!findProgram(names)) await installSystemPackage(packages, say)
    const found = findProgram(names)
    if (found && variable) process.env[variable] = found
    if (!found) throw new Error(`${names[0]} is still missing after its installation.`)
  } catch (error) {
    if (needed || process.env.CI) return error.message
    say(`Tests that need ${names[0]} will be skipped: ${error.message}`)
  }
}

/** Runs a development tool of node_modules; returns its output if it fails. */
async function check (module, tool, parameters) {
  const { code, output } = await run(process.execPath, [executable(module, tool), ...parameters], root)
  return code === 0 ? undefined : `${tool} ended with ${code}\n${output}`
}

function executable (module, tool) {
  const folder = join(root, 'node_modules', module)
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return join(folder, typeof bin === 'string' ? bin : bin[tool])
}

/** Runs tap. Holds back its last line, because problems outside the tests count too. */
function tap (parameters, isPlain) {
  return new Promise(resolve => {
    const result = { passed: 0, failed: 0, code: null }
    const child = spawn(process.execPath, [executable('tap', 'tap'), ...parameters], {
      cwd: root, stdio: ['ignore', 'pipe', 'inherit'], env: isPlain ? withoutHooks() : process.env
    })
    const lines = createInterface({ input: child.stdout })
    lines.on('line', line => {
      const summary = /^(\d+) passed, (\d+) failed$/.exec(line)
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
  return { ...process.env, NODE_OPTIONS: options.filter(Boolean).join(' ') }
}
