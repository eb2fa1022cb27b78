import t from 'tap'
import { createProxyLimit } from '../../src/jobs/judge-failure.ts'

const workload = (evaluations: number) => ({ evaluations, megapixels: evaluations / 4, checkpoint: '' })
const late = (seconds: number, evaluations: number) => ({ seconds, needed: 270, workload: workload(evaluations) })

t.test('a time limit that a thorough check found applies at once, until an answer takes longer', t => {
  let checked: number | null = 60
  const limit = createProxyLimit({ seconds: () => checked, raised () { checked = null } })
  t.equal(limit.gaveUp(late(20, 50)), false, 'that was another reason')
  t.equal(limit.gaveUp(late(60.3, 50)), true)
  t.ok(limit.against(workload(50)))
  limit.answered(59)
  t.equal(checked, 60)
  limit.answered(80)
  t.equal(checked, null)
  t.equal(limit.against(workload(50)), null)
  t.equal(limit.gaveUp(late(60, 50)), false)
  t.end()
})

t.test('a time limit applies after a proxy gave up twice after the same time', t => {
  let clock = 0
  const limit = createProxyLimit(undefined, () => clock)
  t.equal(limit.gaveUp(late(60, 50)), false)
  t.equal(limit.against(workload(90)), null)
  t.equal(limit.gaveUp(late(20, 50)), false, 'that was another reason')
  t.equal(limit.gaveUp(late(20.4, 50)), true)
  t.match(limit.against(workload(50)), { needed: 270 })
  t.equal(limit.against(workload(49)), null, 'what asks for less may do')
  t.equal(limit.against({ ...workload(60), megapixels: 1 }), null)
  limit.answered(19)
  t.ok(limit.against(workload(50)), 'an answer within the limit says nothing')
  clock += 301_000
  t.equal(limit.against(workload(50)), null, 'now one may find out')
  t.equal(limit.gaveUp(late(20, 70)), true)
  t.ok(limit.against(workload(50)))
  limit.answered(25)
  t.equal(limit.against(workload(50)), null, 'it was raised')
  t.end()
})
