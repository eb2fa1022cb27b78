import { decode, encode } from '@jridgewell/sourcemap-codec'
import { build } from 'esbuild'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadProgram } from './load.mjs'

/**
 * Joins modules into few files, as loading 1,400 modules one by one takes half of a start. `npm run build` makes
 * `dist/bundle/cli.cjs` of the command line, `npm test` a bundle of the tests. Addresses that modules make of
 * `import.meta.url`, such as those of Lua scripts, are those of the compiled modules in `dist`.
 */
const root = dirname(dirname(fileURLToPath(import.meta.url)))

/**
 * Packages that are native, look for files beside them, or are loaded only where they are needed. Large packages that
 * are inside are devDependencies, as an installation needs only the bundle.
 */
const outside = ['sharp', 'msgpackr-extract', 'pino-pretty', 'thread-stream', 'sanitize-html', '@bull-board/ui']
/** Packages that look for files beside their modules: inside, these learn their folder in another way. */
const withFiles = ['@fastify/swagger-ui', 'pino']
/** Age from which no process that started with a former bundle still loads a part of it, in milliseconds. */
const forgottenAfter = 3_600_000
/** For CommonJS modules, and the folder `dist` of the installation. */
const beginning = folder => `import { createRequire as bundledRequire } from 'node:module'
const require = bundledRequire(import.meta.url)
const bundledDist = import.meta.url.slice(0, import.meta.url.lastIndexOf('/dist/${folder}/') + '/dist/'.length)`
/** Without maps of libraries, which would take several times the memory of our own. */
const withoutMap = '//# sourceMappingURL=data:application/json,' +
  encodeURIComponent(JSON.stringify({ version: 3, sources: [''], names: [], mappings: 'AAAA' }))

/**
 * Changes of packages that only a bundle has. Each names a text that occurs exactly once in its file, so that another
 * version of the package breaks the build. Those of the router are in the tests too.
 */
const ofRouter = [
  // Compiling a function of source text for each of 3,000 nodes took a tenth of a start.
  {
    file: 'find-my-way/lib/node.js',
    // eslint-disable-next-line no-template-curly-in-string -- a text of that file
    from: "return new Function('path', 'i', `'use strict'\\nreturn ${lines.join(' && ')}`) // eslint-disable-line",
    to: 'return (path, i) => path.startsWith(prefix, i)'
  },
  {
    file: 'find-my-way/lib/handler-storage.js',
    from: "return new Function('NullObject', fnBody.join('\\n'))(NullObject)  // eslint-disable-line",
    to: "return (NullObject.compiled ??= {})[fnBody.join('\\n')] ??= new Function('NullObject', fnBody.join('\\n'))(NullObject)"
  }
]
const adjustments = [
  ...ofRouter,
  // fetch, sockets and mocks, with Node's own copy of all that, http2 and Web Crypto.
  {
    file: 'undici/index.js',
    all: `
    const Dispatcher = require('./lib/dispatcher/dispatcher')
    Object.assign(Dispatcher.prototype, require('./lib/api'))
    module.exports = {
      Dispatcher,
      Agent: require('./lib/dispatcher/agent'),
      Client: require('./lib/dispatcher/client'),
      errors: require('./lib/core/errors')
    }`
  },
  {
    file: 'undici/lib/dispatcher/client.js',
    from: "const connectH2 = require('./client-h2.js')",
    to: "const connectH2 = (...parameters) => require('./client-h2.js')(...parameters)"
  },
  {
    file: 'fastify/lib/server.js',
    from: "const http2 = require('node:http2')",
    to: `const http2 = {
      createServer: (...parameters) => require('node:http2').createServer(...parameters),
      createSecureServer: (...parameters) => require('node:http2').createSecureServer(...parameters)
    }`
  },
  {
    file: '@fastify/static/index.js',
    from: "const { glob } = require('glob')",
    to: "const glob = (...parameters) => require('glob').glob(...parameters)"
  }
]

/** What a bundle of modules and one of a program have in common. */
const common = {
  absWorkingDir: root,
  outbase: '.',
  bundle: true,
  platform: 'node',
  target: 'node20',
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: true,
  sourcesContent: false,
  write: false,
  logLevel: 'error',
  // Its other form loads its modules in a way that esbuild does not follow.
  alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' }
}

/**
 * Bundles modules that import each other, such as tests.
 * @param {readonly string[]} entryPoints paths in the repository; each becomes a file of its own
 * @param {string} folder below `dist`
 * @param {readonly string[]} packages that stay outside besides
 * @param {readonly import('esbuild').Plugin[]} plugins
 */
export async function bundle (entryPoints, folder, packages = [], plugins = []) {
  const { outputFiles } = await build({
    ...common,
    entryPoints: [...entryPoints],
    outdir: join('dist', folder),
    chunkNames: 'parts/[name]-[hash]',
    splitting: true,
    format: 'esm',
    banner: { js: beginning(folder) },
    external: [...outside, ...packages],
    plugins: [...plugins, { name: 'modules', setup: build => { readModules(build, ofRouter) } }]
  })
  for (const { path, contents, text } of outputFiles) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, path.endsWith('.map') ? linesOf(text) : contents)
  }
  await removeFormer(join(root, 'dist', folder), new Set(outputFiles.map(({ path }) => path)))
}

/**
 * Bundles the command line as one script, which src/load.mjs runs: unlike modules, a script can be loaded with its
 * compiled code on any Node.
 */
async function bundleProgram () {
  const { outputFiles } = await build({
    ...common,
    entryPoints: ['src/main/cli.ts'],
    outfile: 'dist/bundle/cli.cjs',
    format: 'cjs',
    banner: { js: '(function (exports, require, module, __filename, __dirname, bundledDist) {' },
    footer: { js: '})' },
    external: outside,
    plugins: [{ name: 'modules', setup: build => { requireAll(build, readModules(build, adjustments)) } }]
  })
  const textOf = suffix => outputFiles.find(({ path }) => path.endsWith(suffix)).text
  const script = textOf('.cjs')
  await mkdir(join(root, 'dist/bundle'), { recursive: true })
  await writeFile(join(root, 'dist/bundle/cli.cjs.lines'), placesOf(textOf('.map')))
  // The hash names its compiled code.
  await writeFile(join(root, 'dist/bundle/cli.cjs'), `/*${createHash('sha1').update(script).digest('hex')}*/${script}`)
  await removeFormer(join(root, 'dist/bundle'), new Set())
  // The pages of the dashboard, which are all that an installation needs of their package.
  await cp(join(root, 'node_modules/@bull-board/ui/dist'), join(root, 'dist/bull-board/dist'), { recursive: true })
}

/** Bundles the commands that talk to a running service: without the service, they load in a tenth of its time. */
async function bundleClient () {
  const { outputFiles } = await build({
    ...common,
    sourcemap: false,
    entryPoints: ['src/commands/client.ts'],
    outfile: 'dist/bundle/client.cjs',
    format: 'cjs',
    banner: { js: "const bundledDist = require('node:url').pathToFileURL(require('node:path').join(__dirname, '..')).href + '/'" },
    plugins: [{ name: 'modules', setup: build => { readModules(build, []) } }]
  })
  await writeFile(join(root, 'dist/bundle/client.cjs'), outputFiles[0].contents)
}

/** Starts the service once, so that its first start by a user already has its compiled code. */
async function storeCompiledCode () {
  // A build installs no Redis, as a start would: there, the first start stores it.
  const isThere = program => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
  if (!['redis-server', 'valkey-server'].some(isThere)) return
  const folder = await mkdtemp(join(tmpdir(), 'stablequeue-build-'))
  try {
    spawnSync(process.execPath, [fileURLToPath(import.meta.url), 'start'], {
      cwd: folder,
      stdio: 'ignore',
      timeout: 30_000,
      env: { PATH: process.env.PATH, DATA_DIR: folder, HOST: '127.0.0.1', PORT: '0', SIMULATOR: 'auto', LOG_LEVEL: 'silent' }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function startOnce () {
  const { exports: { main }, settle } = loadProgram(join(root, 'dist/bundle/cli.cjs'), 'start')
  await main(['start'])
  await settle()
  process.kill(process.pid, 'SIGTERM')
}

/** A source map of lines, not columns: Node reads it at every start, and takes a tenth of the memory. */
function linesOf (text) {
  const map = JSON.parse(text)
  const lines = decode(map.mappings).map(segments => withoutColumns(segments).map(segment => segment.slice(0, 4)))
  return JSON.stringify({ ...map, names: [], mappings: encode(lines) })
}

/**
 * The sources of a script's lines: after a line with the names of the sources, each line has columns with source and,
 * for our own, line. Node's own source maps take 100 ms at the first error; src/load.mjs reads only the line that it
 * needs.
 */
function placesOf (text) {
  const map = JSON.parse(text)
  const lines = decode(map.mappings).map(segments => withoutColumns(segments)
    .map(([column, source, line]) => {
      if (source === undefined) return column
      return isOurs(map.sources[source]) ? `${column} ${source} ${line + 1}` : `${column} ${source}`
    }).join())
  return [JSON.stringify(map.sources), ...lines].join('\n')
}

const isOurs = source => !source.includes('node_modules/')

function withoutColumns (segments) {
  return segments.filter(([, source, line], at) =>
    at === 0 || segments[at - 1][1] !== source || segments[at - 1][2] !== line)
}

/** @param changes of packages. Returns those that were made. */
function readModules ({ onLoad }, changes) {
  const made = new Set()
  onLoad({ filter: /\.ts$/ }, async ({ path }) => {
    const compiled = relative(root, path).replaceAll('\\', '/').replace(/\.ts$/, '.js')
    const text = (await readFile(path, 'utf8'))
      // A package that is loaded at once belongs inside.
      .replace(/createRequire\(import\.meta\.url\)\((?=')/g, 'require(')
      .replaceAll('import.meta.url', `(bundledDist + '${compiled}')`)
    return { contents: text, loader: 'ts' }
  })
  onLoad({ filter: /node_modules.*\.[cm]?js$/ }, async ({ path }) => {
    const [, file = ''] = path.replaceAll('\\', '/').split(/.*\/node_modules\//)
    const text = (await readFile(path, 'utf8')).replace(/^\/\/# sourceMappingURL=.*$/gm, '')
    const change = changes.find(change => change.file === file)
    if (change !== undefined) made.add(change)
    return { contents: `${folderOf(file)}${changed(text, change)}\n${withoutMap}`, loader: 'js' }
  })
  return made
}

/** Fails unless all changes of packages are made at the end. */
function requireAll ({ onEnd }, made) {
  onEnd(() => {
    const missing = adjustments.find(change => !made.has(change))
    if (missing !== undefined) throw new Error(`${missing.file} is not in the bundle any more; see its change in src/bundle.mjs`)
  })
}

function changed (text, change) {
  if (change === undefined) return text
  if (change.all !== undefined) return change.all
  if (text.split(change.from).length !== 2) throw new Error(`${change.file} changed; see its change in src/bundle.mjs`)
  return text.replace(change.from, () => change.to)
}

/** The line that tells a module of `withFiles` its folder. @param file below node_modules */
function folderOf (file) {
  const found = withFiles.find(name => file.startsWith(`${name}/`))
  if (found === undefined) return ''
  const toFolder = join('..', dirname(file.slice(found.length + 1))).replaceAll('\\', '/')
  const folder = `require('node:path').resolve(require.resolve('${found}/package.json'), '${toFolder}')`
  return `const __dirname = ${folder};`
}

async function removeFormer (folder, current) {
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name)
    if (current.has(path) || !/\.js(\.map)?$/.test(name)) continue
    if (Date.now() - (await stat(path)).mtimeMs > forgottenAfter) await rm(path, { force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === 'start') {
    await startOnce()
  } else {
    await bundleProgram()
    await bundleClient()
    await storeCompiledCode()
  }
}
