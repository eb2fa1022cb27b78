import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { build } from 'esbuild'

/**
 * Last step of `npm run build`: bundles the web UI, and writes it for serving, with compressed copies of each file, to
 * `dist/web/<hash of all files>`, and `dist/web/current.json`, which names that folder and the hash of each file.
 * A running service keeps using the folder that it started with, so a build keeps former folders for a day.
 */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const target = join(root, 'dist/web')

/** How long a folder stays after another took its place, in milliseconds. */
const keptFor = 24 * 3_600_000
/** The age after which an unfinished folder counts as left behind by a killed build, in milliseconds. */
const forgottenAfter = 3_600_000

const files = new Map(await bundle())
const hashes = Object.fromEntries([...files].map(([name, content]) => [name, hashOf(content)]))
const folder = hashOf(JSON.stringify(hashes))
mkdirSync(target, { recursive: true })
const former = lastFolder()
writeFolder()
if (former !== folder && former !== undefined) noteReplaced(former)
replaceFile(join(target, 'current.json'), JSON.stringify({ folder, hashes }))
for (const name of readdirSync(target).filter(isUnused)) rmSync(join(target, name), { recursive: true, force: true })

/** The page and the files that it loads; their names contain the hash of their content. */
async function bundle () {
  const web = join(root, 'web')
  const { outputFiles, metafile } = await build({
    absWorkingDir: web,
    entryPoints: { main: './main.tsx', style: './style/index.css', icon: './icon.svg' },
    outdir: 'ui',
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    target: ['chrome111', 'firefox113', 'safari16.4'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    loader: { '.svg': 'copy' },
    minify: true,
    metafile: true,
    write: false,
    logLevel: 'error',
    plugins: [{ name: 'frame', setup: build => { shareFrame(build, join(web, 'main.tsx')) } }]
  })
  const nameOf = path => path.split(/[\\/]/).at(-1)
  const outputOf = entry => Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === entry)
  // The entry only imports the file that the other pages import from too.
  const [entry, { imports: [main] }] = outputOf('main.tsx')
  const addresses = {
    main: nameOf(main.path),
    style: nameOf(outputOf('style/index.css')[0]),
    icon: nameOf(Object.keys(metafile.outputs).find(path => path.endsWith('.svg')))
  }
  const texts = ['index.html', 'manifest.webmanifest'].map(file => readFileSync(join(web, file), 'utf8'))
  const icons = await drawIcons(join(web, 'icon.svg'), texts)
  for (const [size, content] of icons) addresses[`icon${size}`] = `icon-${size}-${hashOf(content).slice(0, 8)}.png`
  const filled = file => readFileSync(join(web, file), 'utf8').replace(/\{(\w+)\}/g, (_, name) => addresses[name])
  const manifest = Buffer.from(filled('manifest.webmanifest'))
  addresses.manifest = `manifest-${hashOf(manifest).slice(0, 8)}.webmanifest`
  const page = Buffer.from(filled('index.html'))
  const served = outputFiles.filter(({ path }) => nameOf(path) !== nameOf(entry))
  return [
    ['index.html', page], [addresses.manifest, manifest], ['service-worker.js', await buildServiceWorker(web, page)],
    ...[...icons].map(([size, content]) => [addresses[`icon${size}`], content]),
    ...served.map(({ path, contents }) => [nameOf(path), Buffer.from(contents)])
  ]
}

/** The service worker; it keeps the files that the page names. */
async function buildServiceWorker (web, page) {
  const named = [...page.toString().matchAll(/(?:href|src)="(ui\/[^"]+)"/g)].map(match => match[1])
  const { outputFiles: [{ contents }] } = await build({
    absWorkingDir: web,
    entryPoints: ['./service-worker/service-worker.ts'],
    bundle: true,
    format: 'iife',
    target: ['chrome111', 'firefox113', 'safari16.4'],
    define: { firstFiles: JSON.stringify(named), version: JSON.stringify(hashOf(page).slice(0, 8)) },
    minify: true,
    write: false,
    logLevel: 'error'
  })
  return Buffer.from(contents)
}

/**
 * The icon as PNG in each size, in pixels, that the texts name, such as `{icon180}`: iOS shows no SVG on its home
 * screen. Its corners are not round there, because systems cut them themselves.
 */
async function drawIcons (svg, texts) {
  const sizes = new Set(texts.flatMap(text => [...text.matchAll(/\{icon(\d+)\}/g)].map(match => Number(match[1]))))
  if (sizes.size === 0) return new Map()
  const { default: sharp } = await import('sharp')
  const source = readFileSync(svg, 'utf8').replace(/(<rect width="32" height="32") rx="\d+"/, '$1')
  const draw = async size =>
    await sharp(Buffer.from(source), { density: 72 * size / 32 }).resize(size, size).removeAlpha().png().toBuffer()
  return new Map(await Promise.all([...sizes].map(async size => [size, await draw(size)])))
}

/**
 * Modules that the first page needs become one file: every page that the browser loads later imports all of them, so
 * that esbuild finds no two sets of pages that share different modules of it.
 */
function shareFrame ({ onResolve, onLoad, resolve }, frame) {
  const later = new Set()
  onResolve({ filter: /^\./ }, async ({ path, kind, pluginData, ...options }) => {
    if (kind !== 'dynamic-import' || pluginData === 'resolving') return undefined
    const found = await resolve(path, { kind, pluginData: 'resolving', importer: options.importer, resolveDir: options.resolveDir })
    later.add(found.path)
    return found
  })
  onLoad({ filter: /\.tsx$/ }, ({ path }) => later.has(path)
    ? { contents: `import ${JSON.stringify(frame)}\n${readFileSync(path, 'utf8')}`, loader: 'tsx' }
    : undefined)
}

/** A folder of this name is always complete, because it gets the name when everything is in it. */
function writeFolder () {
  if (existsSync(join(target, folder))) return
  const unfinished = join(target, `${folder}.${process.pid}`)
  for (const [name, content] of files) {
    mkdirSync(dirname(join(unfinished, name)), { recursive: true })
    writeFileSync(join(unfinished, name), content)
    for (const [ending, compressed] of [['gz', gzipSync(content, { level: 9 })], ['br', brotliCompressSync(content)]]) {
      writeFileSync(join(unfinished, `${name}.${ending}`), compressed)
    }
  }
  try {
    renameSync(unfinished, join(target, folder))
  } catch (error) {
    // Another build of the same files was first.
    if (!existsSync(join(target, folder))) throw error
    rmSync(unfinished, { recursive: true })
  }
}

/** Another build can still need an unfinished folder or file, and a running service one that was replaced. */
function isUnused (name) {
  if ([folder, 'current.json'].includes(name)) return false
  const found = statSync(join(target, name), { throwIfNoEntry: false })
  return found !== undefined && Date.now() - found.mtimeMs > (name.includes('.') ? forgottenAfter : keptFor)
}

/** From now on the folder is only there for services that run already. */
function noteReplaced (name) {
  const now = new Date()
  if (existsSync(join(target, name))) utimesSync(join(target, name), now, now)
}

function replaceFile (path, text) {
  writeFileSync(`${path}.${process.pid}`, text)
  renameSync(`${path}.${process.pid}`, path)
}

/** The folder that the build before this one names; undefined if there was none. */
function lastFolder () {
  try {
    return JSON.parse(readFileSync(join(target, 'current.json'), 'utf8')).folder
  } catch {
    return undefined
  }
}

function hashOf (content) {
  return createHash('sha256').update(content).digest('base64url').slice(0, 22)
}
