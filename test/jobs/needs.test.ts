import t from 'tap'
import type { ServerTraits } from '../../src/a1111/types.ts'
import type { Needs } from '../../src/jobs/job.ts'
import { canRun, classOf, type KnownServer, needsOf } from '../../src/jobs/needs.ts'
import type { Server, ServerState } from '../../src/servers/registry.ts'
import { inventoryOf } from '../a1111/inventory.ts'

interface Facts {
  readonly checkpoints?: readonly string[] | null
  readonly enabled?: boolean
  readonly paused?: boolean
  readonly reachable?: ServerState['reachable']
  readonly kind?: ServerTraits['kind']
}

/** A server; `checkpoints: null`: it has never answered. */
function known (id: string, facts: Facts = {}): KnownServer {
  const { checkpoints = ['a.safetensors'], enabled = true, paused = false, reachable = 'yes', kind = 'a1111' } = facts
  const listed = (checkpoints ?? []).map(title => ({
    title, modelName: title.replace('.safetensors', ''), hash: null, sha256: null, filename: title
  }))
  return {
    server: { id, enabled, paused, origin: 'user' } as Server,
    state: checkpoints === null ? null : { reachable, traits: { kind } } as ServerState,
    inventory: checkpoints === null ? null : inventoryOf({ checkpoints: listed })
  }
}

const any = needsOf({ checkpoint: null, onMissing: 'refuse' }, '')
const needsA: Needs = { ...any, checkpoint: 'a' }
const needsB: Needs = { ...any, checkpoint: 'b' }
const hasB = { checkpoints: ['b.safetensors'] }

t.test('a server runs what needs it, what it has, and nothing else', t => {
  type Row = readonly [what: string, needs: Needs, one: KnownServer, others: readonly KnownServer[], can: boolean]
  const rows: readonly Row[] = [
    ['a job that needs it', { ...any, target: 'one' }, known('one'), [], true],
    ['a job that needs it, although it never answered', { ...any, target: 'one' }, known('one', { checkpoints: null }), [], true],
    ['a job that needs another', { ...any, target: 'two' }, known('one'), [known('two')], false],
    ['a job without a checkpoint', any, known('one'), [], true],
    ['a job without a checkpoint, but it never answered', any, known('one', { checkpoints: null }), [], false],
    ['its checkpoint', needsA, known('one'), [known('two', hasB)], true],
    ['the checkpoint of another', needsB, known('one'), [known('two', hasB)], false],
    ['the checkpoint of another that is down', needsB, known('one'), [known('two', { ...hasB, reachable: 'no' })], false],
    ['the checkpoint of another that is paused', needsB, known('one'), [known('two', { ...hasB, paused: true })], false],
    ['the checkpoint of another that is disabled: its job ends with an error here', needsB, known('one'),
      [known('two', { ...hasB, enabled: false })], true],
    ['a checkpoint that no server has any more: its job ends with an error here', needsB, known('one'), [known('two')], true],
    ['a checkpoint that only the simulator has, which stands aside', needsB, known('one'),
      [known('two', { ...hasB, kind: 'simulator' })], true],
    ['a checkpoint that can be missing', { ...needsB, lenient: true }, known('one'), [known('two', hasB)], true],
    ['it lacks another name, and another server has it', { ...any, lacking: ['one'] }, known('one'), [known('two')], false],
    ['all lack another name: its job ends with an error here', { ...any, lacking: ['one', 'two'] }, known('one'), [known('two')], true],
    ['it failed here, and another can try', { ...any, failed: ['one'] }, known('one'), [known('two')], false],
    ['it failed here, and no other is up', { ...any, failed: ['one'] }, known('one'), [known('two', { reachable: 'no' })], true],
    ['it failed here, and the other lacks its checkpoint', { ...needsA, failed: ['one'] }, known('one'), [known('two', hasB)], true],
    ['it failed everywhere', { ...any, failed: ['one', 'two'] }, known('one'), [known('two')], true],
    ['the simulator, alone', any, known('one', { kind: 'simulator' }), [], true],
    ['the simulator beside a server that never answered', any, known('one', { kind: 'simulator' }),
      [known('two', { checkpoints: null })], true],
    ['the simulator beside a real one that is down', any, known('one', { kind: 'simulator' }),
      [known('two', { reachable: 'no' })], false]
  ]
  for (const [what, needs, one, others, can] of rows) t.equal(canRun(needs, one, others), can, what)
  t.end()
})

t.test('jobs with equal needs form one class, which names their checkpoint', t => {
  const of = (needs: Needs) => classOf(needs, { checkpoint: needs.checkpoint, checkpointTitle: null }).id
  t.equal(of(needsA), of({ ...needsA }))
  t.equal(new Set([any, needsA, needsB, { ...needsA, target: 'one' }, { ...needsA, lacking: ['one'] }].map(of)).size, 5)
  t.match(of(any), /^-/)
  t.equal(of(needsA).split('-')[0], of({ ...needsA, target: 'one' }).split('-')[0])
  t.not(of(needsA).split('-')[0], of(needsB).split('-')[0])
  t.equal(of(needsOf({ checkpoint: null, onMissing: 'refuse' }, '', { lacking: ['b', 'a', 'b'] })),
    of(needsOf({ checkpoint: null, onMissing: 'refuse' }, '', { lacking: ['a', 'b'] })), 'in any order')
  t.end()
})
