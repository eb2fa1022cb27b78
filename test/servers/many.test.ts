// A process of its own: it looks at the warnings of its process.
import { Redis } from 'ioredis'
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
  const { redis } = await startService(t, { servers })

  t.same(warnings.map(({ message }) => message), [])

  const client = new Redis(redis.url)
  t.teardown(() => { client.disconnect() })
  const monitor = await client.monitor()
  t.teardown(() => { monitor.disconnect() })
  const isRenewal = (words: readonly string[]) => words[0] === 'evalsha' && String(words[3]).includes(':lease:')
  /** The commands of Redis from the renewal of all leases to the next one. */
  const commands = await new Promise<string[][]>(resolve => {
    let seen: string[][] | null = null
    monitor.on('monitor', (_time: string, words: string[], source: string) => {
      const isWhole = isRenewal(words) && Number(words[2]) === 3 * 12
      if (isWhole && seen !== null) resolve(seen)
      if (isWhole) seen = []
      seen?.push([source, ...words])
    })
  })
  t.equal(commands.filter(([, ...words]) => isRenewal(words)).length, 1, 'one script renews all leases')
  const ofScript = commands.slice(1, commands.findIndex(([source], index) => index > 0 && source !== 'lua'))
  t.ok(ofScript.length > 12 && ofScript.length <= 12 + 5, `${ofScript.length} commands in it, one for each server`)
  const announcements = commands.filter(([, name, key]) => name === 'hset' && key?.endsWith(':workers') === true)
  t.ok(announcements.length <= 2, 'and the process announces itself once a second')
})
