import t from 'tap'
import {
  apiFields, commonFields, denoisingFields, factsOf, hiresFields, img2imgApiFields, img2imgFields, scriptFields
} from '../../schemas/a1111-fields.ts'
import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { forge } from '../../src/a1111/kinds/forge.ts'
import { generationModel, type Mode } from '../../src/a1111/request-model.ts'
import { renamed, ServiceError } from '../../src/lib/errors.ts'

const names = Object.keys(A1111Parameters.properties)
const all = Object.fromEntries(names.map(name => [name, name === 'enable_hr' ? true : name]))
const everywhere = { ...commonFields, ...scriptFields, ...denoisingFields, ...apiFields }
const groups = { ...everywhere, ...hiresFields, ...img2imgFields, ...img2imgApiFields }
const modes: readonly Mode[] = ['txt2img', 'img2img']

t.test('each field that a client can send reaches a Forge, in one mode at least', async t => {
  const sent = new Set(modes.flatMap(mode => Object.keys(forge.requestFields(mode, all))))
  t.strictSame(names.filter(name => !sent.has(name)), ['override_settings'], 'settings go apart')
  t.strictSame([...sent].filter(name => !names.includes(name)), [])
})

t.test('the model of a request has each field of its mode', async t => {
  const ofMode = { txt2img: hiresFields, img2img: { ...img2imgFields, ...img2imgApiFields } }
  for (const mode of modes) {
    t.strictSame(Object.keys(generationModel(mode, 'forge')).toSorted(),
      Object.keys({ ...everywhere, ...ofMode[mode] }).toSorted(), mode)
  }
  for (const [name, field] of Object.entries(groups)) {
    const { behind } = factsOf(field)
    if (behind !== undefined) t.ok(behind in groups, `${name} follows a field that exists`)
  }
})

t.test('A1111 has no field that only Forge has', async t => {
  const own = modes.flatMap(mode => Object.keys(generationModel(mode, 'a1111')))
  t.strictSame(own.filter(name => factsOf(groups[name as keyof typeof groups]).only === 'forge'), [])
  t.equal(Object.keys(generationModel('txt2img', 'a1111')).length, 55)
  t.equal(Object.keys(generationModel('img2img', 'a1111')).length, 57)
})

t.test('an error names its field as its reader does', async t => {
  const error = new ServiceError('invalid_field_value', name => `${name} must be text.`, { field: 'mask', nearest: ['x'] })
  t.equal(error.message, 'mask must be text.')
  t.match(renamed(error, { field: 'image' }), {
    code: 'invalid_field_value', message: 'image must be text.', details: { field: 'image', nearest: ['x'] }, cause: error
  })
  t.equal(renamed(error, { field: 'text' }, 'mask').message, 'mask must be text.')
  const fixed = new ServiceError('invalid_field_value', 'mask and size differ.', { field: 'mask' })
  t.equal(renamed(fixed, { field: 'image' }).message, 'mask and size differ.')
})
