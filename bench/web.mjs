import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { prepareBuild } from '../src/prepare.mjs'

/** `node bench/web.mjs [--minutes 10] [--jobs 10000] [--before <checkout>]`: builds first, then measures the web UI. */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
await prepareBuild(root, sentence => process.stderr.write(`${sentence}\n`))
const { main } = await import(pathToFileURL(join(root, 'dist/bench/web.js')))
process.exitCode = await main(process.argv.slice(2))
