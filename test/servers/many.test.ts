// A process of its own: it looks at the warnings of its process.
import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { fast, startService } from '../helper.ts'

const warnings: Error[] = []
process.on('warning', warning => { warnings.push(warning) })

t.test('one process serves a dozen servers without a warning from Node', async t => {
  const servers: Record<string, string> = {}
  for (let number = 1; number <= 12; number++) {
    const simulator = await startSimulator(fast)
    t.teardown(simulator.close)
    servers[`Server ${number}`] = simulator.url
  }
  await startService(t, { servers })

  t.same(warnings.map(({ message }) => message), [])
})
