import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerCheckReport } from '../../schemas/server-check.ts'
import { parseSettings } from '../../src/config/parse.ts'
import { readDoctorOptions } from '../../src/main/doctor-options.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { startService } from '../helper.ts'
import { inRepository } from '../root.ts'

/** The command line as an operator runs it, in a folder of its own. */
function start (folder: string, parameters: readonly string[], settings: Readonly<Record<string, string>> = {}) {
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, inRepository('src/launch.mjs'), 'doctor', ...parameters], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, DATA_DIR: folder, ...settings },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', chunk => { output += String(chunk) })
  child.stderr.on('data', chunk => {
    errors += String(chunk)
    child.emit('printed')
  })
  const ended = once(child, 'close').then(([code]) => ({ code: Number(code), output, errors }))
  return {
    child,
    ended,
    async printed (pattern: RegExp) {
      while (!pattern.test(errors)) await Promise.race([once(child, 'printed'), ended])
    }
  }
}

const service = await startService(t, { simulator: { stepMilliseconds: 5 } })
const folder = t.testdir()
const run = async (parameters: readonly string[], settings?: Readonly<Record<string, string>>) =>
  await start(folder, parameters, settings).ended

t.test('a registered server is checked through the service, by alias and by address', async t => {
  const byAlias = await run(['--thorough', '--server', 'Main', '--service', service.url, '--json'])
  t.equal(byAlias.code, 0, byAlias.errors)
  const report = JSON.parse(byAlias.output) as ServerCheckReport
  t.match(report, { outcome: 'finished', verdict: 'good', server: { alias: 'Main' } })
  t.match(byAlias.errors, /Whether it stops when interrupted: done/)
  const byAddress = await run(['--thorough', '--server', service.simulator.url, '--service', service.url])
  t.equal(byAddress.code, 0)
  t.match(byAddress.output, /^Thorough check of Main \(simulator/)
})

t.test('a check that cannot run says why and how to mend that', async t => {
  const none = await run(['--thorough', '--server', 'Main'], { PORT: '9' })
  t.match(none, { code: 3, output: '', errors: /No service answers at .*--service/ })
  t.match(await run(['--thorough', '--server', 'Nobody', '--service', service.url]), { code: 3, errors: /Registered: Main\. An address begins with http/ })
  const away = await run(['--thorough', '--server', 'http://127.0.0.1:9', '--service', service.url])
  t.match(away, { code: 3, output: /Could not run: Nothing listens/, errors: /checked directly and not registered[^]*Nothing listens/ })
  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'reader', scopes: ['servers:read'] })
  const refused = await run(['--thorough', '--server', 'Main', '--service', service.url, '--key', `${accessKey.key}:${secret}`])
  t.match(refused, { code: 3, errors: /servers:admin/ })
  t.notMatch(refused.errors, secret)
})

t.test('invalid words are usage errors', async t => {
  const config = parseSettings({})
  for (const options of [
    { server: 'Main' }, { thorough: true, server: 'Main', minutes: 'x' }, { thorough: true, server: 'Main', key: 'alone' },
    { thorough: true, server: 'ftp://x', token: 'a', key: 'b:c' }
  ]) {
    t.throws(() => readDoctorOptions(options, config), { name: 'UsageError' }, JSON.stringify(options))
  }
  for (const parameters of [['--thorough'], ['--thorough', '--server', 'Main', '--speed', '2']]) {
    t.equal((await run(parameters)).code, 2, parameters.join(' '))
  }
})

t.test('an unregistered address is checked directly, and put back after kill -9', async t => {
  const simulator = await startSimulator({ stepMilliseconds: 5, loadMilliseconds: 0 })
  t.teardown(simulator.close)
  const options = async () => await (await fetch(`${simulator.url}/sdapi/v1/options`)).json() as Record<string, unknown>
  const before = await options()
  // The check is in a generation with changed settings.
  simulator.setFaults([{ kind: 'hang', prompt: 'grey', times: 1, afterSteps: 0 }])
  const killed = start(folder, ['--thorough', '--server', simulator.url], { PORT: '9' })
  const notes = async () => (await readdir(folder)).filter(name => /^server-check-.*json$/.test(name))
  const noted = async () => (await Promise.all((await notes()).map(async name =>
    await readFile(join(folder, name), 'utf8')))).some(text => text.includes('stablequeue-check-'))
  while (simulator.state().inFlight === 0 || !await noted()) await sleep(20)
  killed.child.kill('SIGKILL')
  await killed.ended
  simulator.setFaults([])
  const again = await run(['--thorough', '--server', simulator.url], { PORT: '9' })
  t.equal(again.code, 0, again.errors)
  t.match(again.errors, /A former check of this address was killed/)
  t.same(await options(), before)
  t.same(await notes(), [])
  t.equal((await service.request('GET', '/api/v1/servers')).body.length, 1, 'nothing is registered')
})

t.test('Ctrl-C cancels and puts everything back', async t => {
  service.simulator.setFaults([{ kind: 'hang', prompt: 'grey', times: 1 }])
  const asked = start(folder, ['--thorough', '--server', 'Main', '--service', service.url, '--json'])
  await asked.printed(/How it words errors: done/)
  asked.child.kill('SIGINT')
  await asked.printed(/Cancelling/)
  service.simulator.setFaults([])
  const { code, output } = await asked.ended
  t.equal(code, 4)
  t.match(JSON.parse(output), { outcome: 'cancelled' })
})
