import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { prepareBuild } from '../src/prepare.mjs'

/** `node bench/upgrade.mjs <checkout of the earlier version>`: builds this one first, then runs both side by side. */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
await prepareBuild(root, sentence => process.stderr.write(`${sentence}\n`))
const { main } = await import(pathToFileURL(join(root, 'dist/bench/upgrade.js')))
process.exitCode = await main(process.argv.slice(2))
