import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { requireFreeAddress } from '../../src/main/serve.ts'
import { startFleet } from '../faults/processes.ts'
import { freePort } from '../support/free-port.ts'

const settings = { host: 'HOST', port: 'PORT' }
const command = 'npm start'

async function takenPort (t: Pick<Test, 'teardown'>): Promise<number> {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => { other.close() })
  return (other.address() as AddressInfo).port
}

t.test('the error for an unavailable address names the setting', async t => {
  const port = await takenPort(t)
  await t.rejects(requireFreeAddress({ host: '127.0.0.1', port, settings, command }),
    { message: new RegExp(`Port ${port} of 127.0.0.1 is in use .* PORT=${port + 1} npm start$`) })
  await t.rejects(requireFreeAddress({ host: '192.0.2.1', port, settings, command }),
    { message: /HOST is 192\.0\.2\.1, which is no address of this machine.* HOST=127\.0\.0\.1 npm start$/ })
  await requireFreeAddress({ host: '127.0.0.1', port: 0, settings, command })
  await requireFreeAddress({ host: '127.0.0.1', port: await freePort(), settings, command })
})

t.test('a port in use ends the start before Redis and the simulator start', async t => {
  const port = await takenPort(t)
  const fleet = await startFleet(t)
  await t.rejects(fleet.allInOne({ PORT: String(port) }), { message: new RegExp(`is in use .*PORT=${port + 1} npm start`) })
  t.notMatch(fleet.processes[0]?.output() ?? '', /Started|Adopted|Simulator/)
})
