import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { inRepository } from './root.ts'

/** Loads a script as a command does, and prints whether V8 took kept code; `stay` also does what follows a start. */
const program = `
  import vm from 'node:vm'
  const { Script } = vm
  let rejected
  vm.Script = class extends Script {
    constructor (...parameters) {
      super(...parameters)
      rejected = this.cachedDataRejected
    }
  }
  const { loadProgram } = await import(process.env.LOADER)
  const [path, command, stays] = process.argv.slice(1)
  const { settle } = loadProgram(path, command)
  console.log(rejected === undefined ? 'nothing kept' : rejected ? 'rejected' : 'taken')
  if (stays) {
    // Load: collections in short intervals.
    const busy = setInterval(() => gc({ type: 'minor' }), 20)
    await settle()
    clearInterval(busy)
  }
`

async function load (path: string, command: string, ...more: string[]): Promise<string> {
  const parameters = ['--expose-gc', '--input-type=module', '--eval', program, path, command, ...more]
  const child = spawn(process.execPath, parameters, {
    env: { LOADER: inRepository('src/load.mjs') }, stdio: ['ignore', 'pipe', 'inherit']
  })
  let output = ''
  child.stdout.on('data', chunk => { output += chunk })
  await once(child, 'close')
  return output.trim()
}

t.test('code that a process stores under load, or another command has stored, spares later starts the compiler', async t => {
  const root = t.testdir({ 'cli.cjs': '/*a1*/(function (exports) { exports.main = () => {} })' })
  const path = join(root, 'cli.cjs')
  t.equal(await load(path, 'start', 'stay'), 'nothing kept')
  t.equal(await load(path, 'start'), 'taken')
  t.equal(await load(path, 'worker'), 'taken')
})
