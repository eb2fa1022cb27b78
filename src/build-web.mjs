import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

/**
 * Last step of `npm run build`: writes the web UI for serving, with a compressed copy of each file, to
 * `dist/web/<hash of all files>`, and `dist/web/current.json`, which names that folder and the hash of each file.
 * A running service keeps using the folder that it started with, so a build keeps the folder of the build before.
 */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const target = join(root, 'dist/web')

/** Types of files in `web` that the service serves. Others, such as screenshots for README.md and docs, it does not. */
const servedTypes = ['.html', '.js', '.css', '.svg']

/** Libraries that the pages import, by the name under which they are served. */
const vendored = { 'preact.js': 'preact', 'hooks.js': 'preact/hooks', 'htm.js': 'htm' }

/** The age after which an unfinished folder counts as left behind by a killed build, in milliseconds. */
const forgottenAfter = 3_600_000

const files = new Map([...ownFiles(), ...libraries()])
const hashes = Object.fromEntries([...files].map(([name, content]) => [name, hashOf(content)]))
const folder = hashOf(JSON.stringify(hashes))
mkdirSync(target, { recursive: true })
const last = lastBuild()
const former = last.folder === folder ? last.former : last.folder
writeFolder()
replaceFile(join(target, 'current.json'), JSON.stringify({ folder, former, hashes }))
for (const name of readdirSync(target).filter(isUnused)) rmSync(join(target, name), { recursive: true, force: true })

function ownFiles () {
  const names = readdirSync(join(root, 'web'), { recursive: true }).map(name => name.replaceAll('\\', '/')).toSorted()
  return names.filter(name => servedTypes.includes(extname(name)))
    .map(name => [name, readFileSync(join(root, 'web', name))])
}

/** Rewrites imports between the libraries to relative paths: package names would need inline scripts in the browser. */
function libraries () {
  const served = Object.fromEntries(Object.entries(vendored).map(([name, specifier]) => [specifier, name]))
  const importing = /\bfrom\s*(["'])([^"']+)\1/g
  return Object.entries(vendored).map(([name, specifier]) => {
    const text = readFileSync(fileURLToPath(import.meta.resolve(specifier)), 'utf8')
      .replace(importing, (_clause, quote, from) => `from${quote}./${served[from] ?? from}${quote}`)
      .replace(/^\/\/# sourceMappingURL=.*$/m, '')
    return [`vendor/${name}`, Buffer.from(text)]
  })
}

/** A folder of this name is always complete, because it gets the name when everything is in it. */
function writeFolder () {
  if (existsSync(join(target, folder))) return
  const unfinished = join(target, `${folder}.${process.pid}`)
  for (const [name, content] of files) {
    mkdirSync(dirname(join(unfinished, name)), { recursive: true })
    writeFileSync(join(unfinished, name), content)
    writeFileSync(join(unfinished, `${name}.gz`), gzipSync(content, { level: 9 }))
  }
  try {
    renameSync(unfinished, join(target, folder))
  } catch (error) {
    // Another build of the same files was first.
    if (!existsSync(join(target, folder))) throw error
    rmSync(unfinished, { recursive: true })
  }
}

/** Another build that runs now can still need an unfinished folder or file. */
function isUnused (name) {
  if ([folder, former, 'current.json'].includes(name)) return false
  const found = statSync(join(target, name), { throwIfNoEntry: false })
  return found !== undefined && (!name.includes('.') || Date.now() - found.mtimeMs > forgottenAfter)
}

function replaceFile (path, text) {
  writeFileSync(`${path}.${process.pid}`, text)
  renameSync(`${path}.${process.pid}`, path)
}

/** The folders that the build before this one names. */
function lastBuild () {
  try {
    return JSON.parse(readFileSync(join(target, 'current.json'), 'utf8'))
  } catch {
    return {}
  }
}

function hashOf (content) {
  return createHash('sha256').update(content).digest('base64url').slice(0, 22)
}
