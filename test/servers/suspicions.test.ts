import t from 'tap'
import { createSuspicions, normaliseWords } from '../../src/servers/suspicions.ts'

t.test('only different errors of different requests in a row make a server suspected', t => {
  const suspicions = createSuspicions()
  const note = (request: string, words: string) => suspicions.note({ request, words })
  t.equal(note('a', 'one'), 'first')
  t.equal(note('a', 'two'), 'first', 'the same request with another error')
  t.equal(note('b', 'one'), 'first', 'another request with the same error')
  t.equal(note('c', 'three'), 'first')
  t.equal(note('d', 'four'), 'server')
  t.equal(note('e', 'five'), 'server', 'and each that comes after it')
  suspicions.wentWell(() => 'f')
  t.equal(note('g', 'six'), 'first', 'not in a row')
  t.end()
})

t.test('an error that the same request has had before is its own fault, and keeps what others had', t => {
  const suspicions = createSuspicions()
  const note = (request: string, words: string) => suspicions.note({ request, words })
  t.equal(note('script', 'did not find zebra at 0x7f12'), 'first')
  t.equal(note('script', 'did not find zebra at 0x7f99'), 'known')
  t.equal(note('b', 'two'), 'first')
  t.equal(note('c', 'three'), 'first', 'the error of the script counts no more')
  suspicions.wentWell(() => 'other')
  t.equal(note('script', 'did not find zebra at 0x1'), 'known')
  suspicions.wentWell(() => 'script')
  t.equal(note('script', 'did not find zebra at 0x2'), 'first', 'it may do now')
  t.end()
})

t.test('numbers, addresses, ids and files are not part of an error\'s identity', t => {
  const same = [
    'Tried to allocate 2.25 GiB at 0x7fe1 for task(ab12cd), see /tmp/gradio/xy.log [4, 64]',
    'tried to allocate 512 MiB at 0x0001 for task(99zz00), see /tmp/a.log [1, 64]'
  ]
  t.equal(normaliseWords(same[0] ?? '').replace('gib', 'mib'), normaliseWords(same[1] ?? ''))
  for (const [one = '', other] of [
    ['bad tensor([0.1, 0.2, 0.3])', 'bad tensor([[ 0.5, -0.1]])'],
    ['failed after 59 seconds', 'failed after 1 minute 3 seconds'],
    ['task=7c9e6679-7425-40de at 0x7f', 'task=00aa6679-0000-40de at 0x8e'],
    ['cannot open (tmpab12)', 'cannot open (tmpcd34)'],
    ['handle=aabbccdd invalid', 'handle=ddccbbaa invalid'],
    ['loss is nan', 'loss is 0.3']
  ]) t.equal(normaliseWords(one), normaliseWords(other ?? ''), one)
  t.not(normaliseWords('did not find zebra'), normaliseWords('did not find lion'))
  const begin = performance.now()
  normaliseWords('a'.repeat(1e6))
  normaliseWords('a/ '.repeat(3e5))
  t.ok(performance.now() - begin < 5000, 'long texts are no trouble')
  t.end()
})
