import t from 'tap'
import { combinedMembers, combinedPerson } from '../../src/models/sidecars.ts'
import { folderNames } from '../../src/models/walk.ts'
import { mergeFacts, noFacts } from '../../src/model-facts/facts.ts'
import { withMembers } from '../../src/models/sidecar-file.ts'

t.test('a member of a JSON file changes, and every other letter stays', async t => {
  const text = '{\r\n\t"seed": 12345678901234567890,\r\n\t"weight": 1.0,\r\n\t"tiny": 1e-400,\r\n\t"text": "\\u00e9\\ud800",\r\n' +
    '\t"notes": "old"\r\n}\r\n'
  t.equal(withMembers(text, { notes: 'new' }), text.replace('"old"', '"new"'))
  t.match(withMembers(text, { other: 1 }), text.slice(0, text.indexOf('"notes"')))
  t.equal(withMembers(text, { notes: undefined, seed: undefined }).includes('"weight": 1.0'), true)
  t.same(JSON.parse(withMembers(text, { notes: undefined })).notes, undefined)
  t.equal(withMembers('', { notes: 'new' }), '{\n    "notes": "new"\n}\n')
  t.equal(withMembers('{}', { id: 12345678901234567890n }).replace(/\s/g, ''), '{"id":12345678901234567890}')
  t.same(JSON.parse(withMembers('{"a":1,"b":2,"a":3}', { a: 4 })), { a: 4, b: 2 }, 'of two the last counts')
  t.same(JSON.parse(withMembers('{"a":1,"b":2,"a":3}', { a: undefined })), { b: 2 })
  t.same(JSON.parse(withMembers('{"a":1}', { a: '$& $1', b: { c: ['$$'] } })), { a: '$& $1', b: { c: ['$$'] } })
})

t.test('each model has its own files beside it', async t => {
  const of = (names: readonly string[], model: string) => {
    const { sidecars, previews } = folderNames(names).companionsOf(model)
    return [...sidecars, ...previews].map(({ name }) => name)
  }
  const cases = ['Film.safetensors', 'film.safetensors', 'Film.json', 'film.json', 'FILM.civitai.info', 'film.png']
  t.same(of(cases, 'Film.safetensors'), ['Film.json'], 'in its own case')
  t.same(of(cases, 'film.safetensors'), ['film.json', 'film.png'])
  t.same(folderNames(cases).ownersOf('FILM.civitai.info'), [], 'a third case is of neither')
  t.same(of(['Film.safetensors', 'FILM.JSON'], 'Film.safetensors'), ['FILM.JSON'], 'in another where no other has it')
  t.same(of(['Film.safetensors', 'Film.json', 'film.json'], 'Film.safetensors'), ['Film.json'])

  const endings = ['a.safetensors', 'a.civitai.safetensors', 'a.preview.safetensors', 'a.civitai.json', 'a.preview.png', 'a.json']
  t.same(of(endings, 'a.safetensors'), ['a.json'], 'not those of a model whose name goes on')
  t.same(of(endings, 'a.civitai.safetensors'), ['a.civitai.json'])
  t.same(of(endings, 'a.preview.safetensors'), ['a.preview.png'])
  t.equal(folderNames(endings).sidecarFor('a.safetensors', '.civitai.json'), 'a.safetensors.civitai.json')
  t.equal(folderNames(endings).sidecarFor('a.civitai.safetensors', '.json'), 'a.civitai.json')

  const stems = ['b.safetensors', 'b.pt', 'b.json']
  t.same(of(stems, 'b.pt'), ['b.json'], 'what is of two shows at both')
  t.equal(folderNames(stems).sidecarFor('b.pt', '.json'), 'b.pt.json', 'and what is of one is written beside it alone')
  t.same(of([...stems, 'b.pt.json'], 'b.pt'), ['b.pt.json', 'b.json'])
  t.same(of([...stems, 'b.pt.json'], 'b.safetensors'), ['b.json'])
  t.equal(folderNames(['c.safetensors', 'c.safetensors.json']).sidecarFor('c.safetensors', '.json'), 'c.safetensors.json')
})

t.test('texts of two people are joined without repetition', async t => {
  const one = { notes: 'mine', 'activation text': 'a, b', 'preferred weight': 0.5, 'sd version': 'Unknown', extra: 1 }
  const two = { notes: 'yours', 'activation text': 'b, c', 'preferred weight': 0.7, 'sd version': 'SDXL', extra: 2, vae: 'x' }
  const { changes, notes } = combinedMembers(one, two, 'two.safetensors')
  t.same(changes, { 'activation text': 'a, b, c', 'sd version': 'SDXL', vae: 'x' })
  t.equal(notes, 'mine\n\nyours\n\npreferred weight beside two.safetensors: 0.7\n\nextra beside two.safetensors: 2')
  const again = combinedMembers({ ...one, ...changes, notes }, two, 'two.safetensors')
  t.same(again, { changes: {}, notes })
  t.match(combinedPerson([{ ...noFacts, notes: 'a', weight: 1 }, { ...noFacts, notes: 'b', triggerWords: ['x'] }]),
    { notes: 'a\n\nb', weight: 1, triggerWords: ['x'] })
})

t.test('the more specific of two base models applies', async t => {
  const base = (person: string, civitai: string) =>
    mergeFacts({ person: { ...noFacts, baseModel: person }, civitai: { ...noFacts, baseModel: civitai } }).baseModel
  t.equal(base('SDXL', 'Illustrious'), 'Illustrious')
  t.equal(base('SD1', 'SD 1.4'), 'SD 1.4')
  t.equal(base('SDXL', 'SDXL 1.0'), 'SDXL')
  t.equal(base('SD1', 'Pony'), 'SD1', 'a person may know better')
  t.equal(base('Pony', 'Illustrious'), 'Pony')
})
