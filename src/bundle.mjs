import { decode, encode } from '@jridgewell/sourcemap-codec'
import { build } from 'esbuild'
import { mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Joins modules into few files, as loading 1,400 modules one by one takes half of a start. `npm run build` makes
 * `dist/bundle` of the command line, `npm test` a bundle of the tests. Addresses that modules make of
 * `import.meta.url`, such as those of Lua scripts, are those of the compiled modules in `dist`.
 */
const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Packages that are native, look for files beside them, or are loaded only where they are needed. */
const outside = [
  'sharp', 'msgpackr-extract', 'pino', 'pino-pretty', 'thread-stream', 'sanitize-html', '@bull-board/ui',
  '@opentelemetry/exporter-trace-otlp-http', '@opentelemetry/resources', '@opentelemetry/sdk-trace-base'
]
/** A package that looks for files beside its modules: inside, these learn their folder in another way. */
const withFiles = '@fastify/swagger-ui'
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
 * @param {readonly string[]} entryPoints paths in the repository; each becomes a file of its own
 * @param {string} folder below `dist`
 * @param {readonly string[]} packages that stay outside besides
 * @param {readonly import('esbuild').Plugin[]} plugins
 */
export async function bundle (entryPoints, folder, packages = [], plugins = []) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [...entryPoints],
    outdir: join('dist', folder),
    outbase: '.',
    chunkNames: 'parts/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    minifyWhitespace: true,
    minifySyntax: true,
    sourcemap: true,
    sourcesContent: false,
    write: false,
    logLevel: 'error',
    banner: { js: beginning(folder) },
    external: [...outside, ...packages],
    // Its other form loads its modules in a way that esbuild does not follow.
    alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' },
    plugins: [...plugins, { name: 'modules', setup: readModules }]
  })
  for (const { path, contents, text } of outputFiles) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, path.endsWith('.map') ? linesOf(text) : contents)
  }
  await removeFormer(join(root, 'dist', folder), new Set(outputFiles.map(({ path }) => path)))
}

/** A source map of lines, not columns: Node reads it at every start, and takes a tenth of the memory. */
function linesOf (text) {
  const map = JSON.parse(text)
  const lines = decode(map.mappings).map(segments => segments
    .filter(([, source, line], at) => at === 0 || segments[at - 1][1] !== source || segments[at - 1][2] !== line)
    .map(segment => segment.slice(0, 4)))
  return JSON.stringify({ ...map, names: [], mappings: encode(lines) })
}

function readModules ({ onLoad }) {
  onLoad({ filter: /\.ts$/ }, async ({ path }) => {
    const compiled = relative(root, path).replaceAll('\\', '/').replace(/\.ts$/, '.js')
    const text = (await readFile(path, 'utf8'))
      // A package that is loaded at once belongs inside.
      .replace(/createRequire\(import\.meta\.url\)\((?=')/g, 'require(')
      .replaceAll('import.meta.url', `(bundledDist + '${compiled}')`)
    return { contents: text, loader: 'ts' }
  })
  onLoad({ filter: /node_modules.*\.[cm]?js$/ }, async ({ path }) => {
    const text = (await readFile(path, 'utf8')).replace(/^\/\/# sourceMappingURL=.*$/gm, '')
    return { contents: `${folderOf(path)}${text}\n${withoutMap}`, loader: 'js' }
  })
}

/** The line that tells a module of `withFiles` its folder. */
function folderOf (path) {
  const [, within] = path.replaceAll('\\', '/').split(`/node_modules/${withFiles}/`)
  if (within === undefined) return ''
  const toFolder = join('..', dirname(within)).replaceAll('\\', '/')
  return `const __dirname = require('node:path').resolve(require.resolve('${withFiles}/package.json'), '${toFolder}');`
}

async function removeFormer (folder, current) {
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name)
    if (current.has(path) || !/\.js(\.map)?$/.test(name)) continue
    if (Date.now() - (await stat(path)).mtimeMs > forgottenAfter) await rm(path, { force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle(['src/main/cli.ts'], 'bundle')
