import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { createWorkerStatus } from '../../src/main/worker.ts'
import { quick, silentLogger, startService } from '../helper.ts'
import { inRepository } from '../root.ts'
import { tool } from './tool.ts'

const { path: promtool, skip } = tool('promtool')

/** Runs promtool; returns its complaints, or nothing if it has none. */
async function complaints (parameters: readonly string[], input = ''): Promise<string> {
  const child = spawn(promtool, parameters, { cwd: inRepository('docs/operating'), stdio: 'pipe' })
  child.stdin.end(input)
  const [output, errors, code] = await Promise.all([
    text(child.stdout), text(child.stderr), new Promise(resolve => { child.once('close', resolve) })
  ])
  return code === 0 ? '' : `promtool ended with ${code}\n${output}${errors}`
}

t.test('Prometheus reads the configuration and the alert rules', { skip }, async t => {
  t.equal(await complaints(['check', 'rules', 'alerts.yml']), '')
  t.equal(await complaints(['test', 'rules', inRepository('test/ecosystem/alerts-cases.yml')]), '')
  t.equal(await complaints(['check', 'config', '--syntax-only', 'prometheus.yml']), '')
})

t.test('the metrics of an API process and of a worker follow the conventions of Prometheus', { skip }, async t => {
  const service = await startService(t)
  await service.until(await service.submit(quick), 'completed')
  const { body } = await service.request('GET', '/metrics')
  t.equal(await complaints(['check', 'metrics'], String(body.text)), '')
  const status = createWorkerStatus(service.services, silentLogger)
  t.teardown(async () => await status.close())
  t.equal(await complaints(['check', 'metrics'], (await status.inject('/metrics')).body), '')
})
