import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import * as util from 'node:util'

/**
 * Installs and builds a checkout before any other code of it can run, for `npm start` and `npm test`. Uses only Node
 * itself, because nothing else is installed yet.
 */

/** The age after which the lock of an install or build counts as left behind, in milliseconds. */
const lockLifetime = 15 * 60_000

/** The oldest Node that this package runs on. */
const oldestNode = [20, 19]

/** Why this Node is unsuitable, as a sentence; undefined if it is suitable. */
export function nodeProblem (version = process.versions.node) {
  const [major, minor] = version.split('.').map(Number)
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return undefined
  return `StableQueue needs Node ${oldestNode.join('.')} or newer, but this is Node ${version}. Install a newer one from https://nodejs.org.`
}

/**
 * Why this machine cannot have the private Redis, as a sentence; undefined if it can, or needs none. Checked early,
 * because installing takes minutes; src/redis/private/install.ts repeats the check in full.
 * @param {readonly string[]} argv of the command line
 * @param {Record<string, string | undefined>} environment
 * @param {string} folder the folder of `.env`
 */
export function redisProblem ([command], environment, folder) {
  if (command !== 'start') return undefined
  const setting = name => environment[name]?.trim() || settingOfFile(join(folder, '.env'), name)
  const path = environment.PATH ?? ''
  const program = setting('REDIS_SERVER')
  if (setting('REDIS_URL')) return undefined
  if (program) {
    return inPath(program, path) ? undefined : `REDIS_SERVER is ${program}, but there is no such program.`
  }
  if (inPath('redis-server', path) || inPath('valkey-server', path)) return undefined
  const isRoot = process.getuid?.() === 0
  if (inPath('apt-get', path) && (isRoot || (inPath('sudo', path) && succeeds('sudo', ['-n', 'true'])))) return undefined
  if (inPath('brew', path) && !isRoot) return undefined
  return 'StableQueue needs Redis: install redis-server (6.2 or newer) or valkey-server, or set REDIS_URL to the address ' +
    'of a Redis. It cannot be installed from here without root rights or Homebrew.'
}

function inPath (name, path) {
  const candidates = name.includes('/') ? [resolve(name)] : path.split(delimiter).map(folder => join(folder, name))
  return candidates.some(candidate => {
    try {
      accessSync(candidate, constants.X_OK)
      return statSync(candidate).isFile()
    } catch {
      return false
    }
  })
}

function succeeds (program, parameters) {
  return spawnSync(program, parameters, { stdio: 'ignore' }).status === 0
}

function settingOfFile (path, name) {
  try {
    // Not a named import: a Node too old for `parseEnv` must still run far enough to report that.
    return util.parseEnv(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''))[name]?.trim()
  } catch {
    return undefined
  }
}

/**
 * Installs the dependencies of package-lock.json if npm's own record of node_modules differs from it.
 * @param {string} root folder of package.json
 * @param {'production' | 'development'} need development: all; production: only those for running
 * @param {(sentence: string) => void} say
 */
export async function prepareDependencies (root, need, say) {
  if (dependencyProblem(root, need) === undefined) return
  await oneAtATime(root, say, async () => {
    const problem = dependencyProblem(root, need)
    if (problem === undefined) return
    say(`Installing dependencies (${problem})…`)
    // Without `prefer-offline`, npm asks the registry for every package that it has, and compares its hash anyway.
    const options = ['--prefer-offline', '--no-audit', '--no-fund', '--include=dev', '--ignore-scripts']
    await npm(root, ['ci', ...options], 'Installing dependencies')
  })
}

/**
 * Compiles the TypeScript sources and prepares the web UI, if anything is newer than the last build.
 * @param {string} root folder of package.json
 * @param {(sentence: string) => void} say
 * @param {() => Promise<void>} build does it
 */
export async function prepareBuild (root, say, build = () => npm(root, ['run', '--silent', 'build'], 'Building')) {
  if (buildProblem(root) === undefined) return
  await oneAtATime(root, say, async () => {
    const problem = buildProblem(root)
    if (problem === undefined) return
    say(`Building (${problem})…`)
    // The compiler trusts its record of written files, even if they were deleted.
    if (!existsSync(entryPoint(root))) rmSync(join(root, 'dist/.tsbuildinfo'), { force: true })
    const began = new Date()
    await build()
    writeFileSync(buildStamp(root), '')
    // Sources saved while the compiler ran are newer than the stamp.
    utimesSync(buildStamp(root), began, began)
  })
}

/** Why node_modules is unusable, in a few words; undefined if it is usable. */
export function dependencyProblem (root, need) {
  const wanted = readJson(join(root, 'package-lock.json'))
  if (wanted === undefined) return undefined
  if (!existsSync(join(root, 'node_modules'))) return 'node_modules is missing'
  // npm writes this record last, so an interrupted install leaves none.
  const installed = readJson(join(root, 'node_modules/.package-lock.json'))
  if (installed === undefined) return 'node_modules is incomplete'
  for (const [path, entry] of Object.entries(wanted.packages)) {
    if (!path.startsWith('node_modules/') || entry.link || (need === 'production' && entry.dev)) continue
    const found = installed.packages[path]
    if (found === undefined && !entry.optional && !entry.devOptional) return `${nameOf(path)} is missing`
    if (found !== undefined && found.version !== entry.version) return `package-lock.json changed: ${nameOf(path)}`
  }
  return undefined
}

/** Why dist is unusable, in a few words; undefined if it is usable. */
export function buildProblem (root) {
  if (!existsSync(entryPoint(root)) || !existsSync(buildStamp(root))) return 'there is no finished build'
  const built = statSync(buildStamp(root)).mtimeMs
  // The build of the web UI contains libraries from node_modules.
  const sources = ['tsconfig.json', 'tsconfig.build.json', 'web', 'package-lock.json', ...readJson(join(root, 'tsconfig.build.json')).include]
  const newer = sources.find(source => newestChange(join(root, source)) > built)
  return newer === undefined ? undefined : `${newer} changed`
}

const entryPoint = root => join(root, 'dist/src/main/cli.js')
const buildStamp = root => join(root, 'dist/.built')
const nameOf = path => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)

function readJson (path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

/** The newest modification below a path, in milliseconds; folders count, so that a removed file is noticed. */
function newestChange (path) {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) return 0
  if (!found.isDirectory()) return found.mtimeMs
  return readdirSync(path).reduce((newest, name) => Math.max(newest, newestChange(join(path, name))), found.mtimeMs)
}

/** Runs npm quietly; if it fails, throws its output. */
export async function npm (root, parameters, doing) {
  const script = process.env.npm_execpath
  const [program, ...first] = script?.endsWith('.js') ? [process.execPath, script] : ['npm']
  const { code, output } = await run(program, [...first, '--loglevel=error', ...parameters], root)
  if (code !== 0) throw new Error(`${doing} failed: npm ${parameters.join(' ')} ended with ${code}.\n${output}`)
}

/** Runs a program to its end and collects its output. */
export function run (program, parameters, root) {
  return new Promise(resolve => {
    const isWindows = process.platform === 'win32'
    // In a process group of its own, because npm does not pass signals on to its children.
    const options = { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], shell: isWindows && program === 'npm', detached: !isWindows }
    const child = spawn(program, parameters, options)
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(isWindows ? child.pid : -child.pid)
      } catch {
        // The child has already ended.
      }
    }
    process.once('exit', end)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { output += chunk })
    child.on('error', error => resolve({ code: error.code, output: error.message }))
    child.on('close', (code, signal) => {
      process.off('exit', end)
      resolve({ code: code ?? signal, output: output.trim() })
    })
  })
}

/** Two starts in one checkout wait for each other, so that neither sees the other's half-written files. */
async function oneAtATime (root, say, work) {
  const lock = join(root, 'dist/.preparing')
  mkdirSync(join(root, 'dist'), { recursive: true })
  for (let waiting = false; !take(lock); waiting = true) {
    if (!waiting) say('Waiting for another process that prepares this folder…')
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  try {
    await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function take (lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  if (isForgotten(lock)) {
    try {
      // Only one of several waiters can move it away.
      renameSync(lock, `${lock}.${process.pid}`)
      rmSync(`${lock}.${process.pid}`)
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
  }
  return false
}

function isForgotten (lock) {
  const found = statSync(lock, { throwIfNoEntry: false })
  if (found === undefined) return false
  if (Date.now() - found.mtimeMs > lockLifetime) return true
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    if (pid > 0) process.kill(pid, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}
