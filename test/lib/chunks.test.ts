import t from 'tap'
import { bounded, readBeginning, readWhole } from '../../src/lib/chunks.ts'

/** Yields the texts as chunks, and records which ones were read and whether the source was closed. */
function source (...texts: string[]) {
  const seen = { taken: [] as string[], closed: false }
  async function * chunks () {
    try {
      for (const text of texts) {
        seen.taken.push(text)
        yield Buffer.from(text)
      }
    } finally {
      seen.closed = true
    }
  }
  return { seen, chunks: chunks() }
}

const excess = () => new Error('too long')

t.test('content within the limit is read to its end, also exactly at the limit', async t => {
  t.equal(String(await readWhole(source('ab', 'cd').chunks, 4, excess)), 'abcd')
  t.equal(String(await readWhole(source().chunks, 0, excess)), '')
})

t.test('more than the limit fails with the given error, and the rest is not read', async t => {
  const { seen, chunks } = source('ab', 'cd', 'ef')
  await t.rejects(readWhole(chunks, 3, excess), { message: 'too long' })
  t.same(seen, { taken: ['ab', 'cd'], closed: true })
})

t.test('chunks are passed on as they arrive until there are too many', async t => {
  const passed: string[] = []
  await t.rejects(async () => {
    for await (const chunk of bounded(source('ab', 'cd', 'ef').chunks, 5, excess)) passed.push(String(chunk))
  }, { message: 'too long' })
  t.same(passed, ['ab', 'cd'])
})

t.test('a beginning ends with the chunk that exceeds the limit', async t => {
  const { seen, chunks } = source('ab', 'cd', 'ef')
  t.equal(String(await readBeginning(chunks, 3)), 'abcd')
  t.same(seen, { taken: ['ab', 'cd'], closed: true })
  t.equal(String(await readBeginning(source('ab').chunks, 3)), 'ab')
})
