import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { prepareBuild } from '../src/prepare.mjs'

/** `node bench/kill-soak.mjs [kills] [seed]`: builds first, then runs the soak. */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
await prepareBuild(root, sentence => process.stderr.write(`${sentence}\n`))
const { main } = await import(pathToFileURL(join(root, 'dist/bench/kill-soak.js')))
process.exitCode = await main(process.argv.slice(2))
