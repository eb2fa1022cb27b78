import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../src/prepare.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** The hashes of files without a fault. */
const cache = join(root, 'node_modules/.cache/lint.json')
/** A file is linted again if it or one of these has changed. */
const rules = ['oxlint.config.mjs', 'test/lint-core.mjs', 'package-lock.json']
const isSource = name => /\.[cm]?[jt]sx?$/.test(name)

/** Lints the files that changed since they were last found without a fault; returns the report, or undefined. */
export async function lint () {
  const version = hashOf(rules.map(name => readFileSync(join(root, name))))
  const clean = new Set(existsSync(cache) ? JSON.parse(readFileSync(cache, 'utf8')) : [])
  const files = sources().map(name => ({ name, hash: hashOf([version, name, readFileSync(join(root, name))]) }))
  const changed = files.filter(({ hash }) => !clean.has(hash))
  if (changed.length === 0) return undefined
  const program = join(root, 'node_modules/oxlint/bin/oxlint')
  const options = ['--config', 'oxlint.config.mjs', '--deny-warnings', '--no-error-on-unmatched-pattern']
  const names = changed.map(({ name }) => name)
  const { code, output } = await run(process.execPath, [program, ...options, ...names], root)
  if (code !== 0) return `oxlint ended with ${code}\n${output}`
  mkdirSync(dirname(cache), { recursive: true })
  writeFileSync(cache, JSON.stringify(files.map(({ hash }) => hash)))
  return undefined
}

function sources () {
  return readdirSync(root, { withFileTypes: true }).flatMap(entry => {
    if (!entry.isDirectory()) return isSource(entry.name) ? [entry.name] : []
    if (entry.name.startsWith('.') || /^(?:node_modules|dist|data|coverage)$/.test(entry.name)) return []
    return readdirSync(join(root, entry.name), { recursive: true, withFileTypes: true })
      .filter(file => file.isFile() && isSource(file.name))
      .map(file => relative(root, join(file.parentPath, file.name)))
  })
}

function hashOf (parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const report = await lint()
  if (report !== undefined) {
    process.stdout.write(`${report}\n`)
    process.exitCode = 1
  }
}
