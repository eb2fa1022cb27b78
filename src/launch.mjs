#!/usr/bin/env node
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { loadProgram } from './load.mjs'
import { buildProblem, nodeProblem, prepareBuild, prepareDependencies, redisProblem } from './prepare.mjs'
/**
 * The command `stablequeue`, which `npm start` runs too. In a checkout it first installs dependencies and builds; an
 * installed package or a container image contains both and has no tsconfig.json. The command line then runs in this
 * process, so that it gets the signals.
 */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** The bundle loads in a fifth of the time of the single modules, which are all that the compiler alone writes. */
const bundle = join(root, 'dist/bundle/cli.cjs')
/** Commands that talk to a running service, and help, need a small part of it. */
const clientBundle = join(root, 'dist/bundle/client.cjs')
const machineCommands = new Set(['start', 'api', 'worker', 'simulator', 'doctor', 'media', 'keys'])
const entryPoint = join(root, 'dist/src/main/cli.js')
// stderr, because commands such as `doctor --json` write their result to stdout.
const say = sentence => process.stderr.write(`${sentence}\n`)

// Without these handlers, a signal during the preparation would end the process without a message. The service
// installs its own handlers later. Listeners from before, such as those of preloaded instrumentation, end nothing.
const preloaded = { SIGINT: process.listenerCount('SIGINT'), SIGTERM: process.listenerCount('SIGTERM') }
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)

try {
  const unsuitable = nodeProblem() ?? redisProblem(process.argv.slice(2), process.env, process.cwd())
  if (unsuitable) throw new Error(unsuitable)
  if (existsSync(join(root, 'tsconfig.json'))) await prepare()
  if (![bundle, entryPoint].some(existsSync)) throw new Error(`${entryPoint} is missing: this installation is incomplete.`)
} catch (error) {
  say(error.message)
  process.exit(1)
}
const parameters = process.argv.slice(2)
const [command = 'help'] = parameters
const asksForHelp = command !== 'simulator' && parameters.some(word => word === '--help' || word === '-h')
if ((asksForHelp || !machineCommands.has(command)) && existsSync(clientBundle)) {
  for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, end)
  await createRequire(clientBundle)(clientBundle).main(parameters)
} else if (existsSync(bundle)) {
  const program = loadProgram(bundle, command)
  await program.exports.main(parameters)
  program.settle()
} else {
  // Lines of stack traces are those of the sources.
  process.setSourceMapsEnabled(true)
  const { main } = await import(pathToFileURL(entryPoint))
  await main(parameters)
}

function end (signal) {
  if (process.listenerCount(signal) > preloaded[signal]) return
  say(`Stopped by ${signal} while starting.`)
  process.exit(128 + constants.signals[signal])
}

/** Compiling takes the development tools; running an up-to-date build does not. */
async function prepare () {
  await prepareDependencies(root, buildProblem(root) ? 'development' : 'production', say)
  await prepareBuild(root, say)
}
