import t from 'tap'
import { type Model, noFacts } from '../../src/model-facts/facts.ts'
import { createModelSearch } from '../../src/models/search.ts'

const model = (id: number): Model => ({
  id,
  type: 'lora',
  lycoris: false,
  filename: `boat-${id}.safetensors`,
  path: `boat-${id}.safetensors`,
  sha256: null,
  shortHash: null,
  autoV3: null,
  files: [],
  reported: [],
  facts: { ...noFacts, tags: [`harbour ${id}`] },
  sources: []
})
const models = Array.from({ length: 3000 }, (_, index) => model(index))
const found = (search: ReturnType<typeof createModelSearch>) =>
  ['boat-2999', 'harbour 17', '17 harbour', 'harbuor'].map(text => search.find(text).map(({ id }) => id))

t.test('a search finds the same before, while and after its index is made in the background', async t => {
  const unprepared = found(createModelSearch(models))
  t.ok(unprepared.every(ids => ids.length > 0))
  const search = createModelSearch(models)
  const prepared = search.prepare()
  t.same(found(search), unprepared, 'while it is made')
  await prepared
  t.same(found(search), unprepared, 'afterwards')
  const other = createModelSearch(models)
  await other.prepare()
  t.same(found(other), unprepared, 'made before the first search')
})
