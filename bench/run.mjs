import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { nodeProblem, prepareBuild, prepareDependencies } from '../src/prepare.mjs'

/** `npm run bench`: installs and builds first, then measures the named figures, or all. */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const say = sentence => process.stderr.write(`${sentence}\n`)

try {
  const unsuitable = nodeProblem()
  if (unsuitable) throw new Error(unsuitable)
  await prepareDependencies(root, 'development', say)
  await prepareBuild(root, say)
} catch (error) {
  say(error.message)
  process.exit(1)
}
const { main } = await import(pathToFileURL(join(root, 'dist/bench/main.js')))
process.exitCode = await main(process.argv.slice(2))
