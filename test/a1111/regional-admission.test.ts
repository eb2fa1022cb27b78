import t from 'tap'
import { ServiceError } from '../../src/lib/errors.ts'
import { checkedAt, inventoryOf, type CompatibilitySetting } from './inventory.ts'

const at = inventoryOf({
  scripts: { txt2img: ['regional prompter'], img2img: [] },
  loras: [
    { name: 'addPhoto', alias: 'photo', path: 'addPhoto.safetensors' }, { name: 'ANDROID', alias: 'ANDROID', path: 'ANDROID.safetensors' },
    { name: 'film', alias: 'film', path: 'film.safetensors' }
  ],
  missing: ['checkpoints', 'samplers', 'schedulers']
})
const keepAnd: readonly unknown[] = [true, false, 'Matrix', 'Columns', 'Mask', 'Prompt', '1,1', '0.2', false, false, false, 'Attention', true]
const latent = keepAnd.with(11, 'Latent')

/** A prompt with regions in the extension's own syntax. */
function divided (prompt: string, args: readonly unknown[] = keepAnd, setting: Partial<CompatibilitySetting> = {}) {
  return checkedAt({ prompt, alwayson_scripts: { 'Regional Prompter': { args } } }, { at, ...setting })
}
const codes = (prompt: string, args?: readonly unknown[]) => divided(prompt, args).warnings.map(({ code }) => code)

t.test('the server\'s own name of a LoRA must not contain keywords that divide a prompt either', async t => {
  const refusal = t.throws(() => divided('sea ADDCOL sand <lora:Photo:1>'), ServiceError)
  t.match(refusal, { code: 'invalid_field_value', message: /addPhoto contains "addP"/, details: { field: 'prompt' } })
  const { parameters, warnings } = divided('sea ADDCOL sand <lora:Photo:1>', keepAnd, { onMissing: 'ignore' })
  t.equal(parameters.prompt, 'sea ADDCOL sand')
  t.match(warnings, [{ code: 'invalid_field_value', message: /left out/ }])
  t.equal(divided('sea <lora:Photo:1>', [false]).parameters.prompt, 'sea <lora:addPhoto:1>', 'only while the extension is on')
  t.equal(divided('sea ADDCOL sand <lora:photo:1>').parameters.prompt, 'sea ADDCOL sand <lora:photo:1>', 'an alias stays as written')

  t.doesNotThrow(() => divided('sea ADDCOL sand <lora:ANDROID:1>'), 'AND stays AND')
  for (const args of [keepAnd.with(12, false), keepAnd.with(12, []), keepAnd.slice(0, 12), latent]) {
    t.throws(() => divided('sea ADDCOL sand <lora:ANDROID:1>', args), { message: /contains "AND"/ })
  }
  for (const options of ["disable convert 'AND' to 'BREAK',debug", ["disable convert 'AND' to 'BREAK'"]]) {
    t.doesNotThrow(() => divided('sea ADDCOL sand <lora:ANDROID:1>', keepAnd.with(12, options)))
  }
})

t.test('a LoRA in the common part counts once for each region, which gives a warning', async t => {
  t.strictSame(codes('best <lora:film:1> ADDCOMM sea ADDCOL sand'), ['regional_lora_multiplied'])
  t.strictSame(codes('best <lora:film:1> BREAK sea BREAK sand', keepAnd.with(9, true)), ['regional_lora_multiplied'])
  t.strictSame(codes('best <lora:film:1> BREAK sea BREAK sand'), [], 'without a common part that is the first region')
  t.strictSame(codes('best ADDCOMM sea ADDCOL sand <lora:film:1>'), [])
  t.strictSame(codes('best <lora:film:1> ADDCOMM sea ADDCOL sand', latent), [], 'Latent mode keeps LoRAs to regions')
})

t.test('keywords inside other words give a warning, whole keywords are intended', async t => {
  t.strictSame(codes('best ADDCOMM wood ADDBASE sea ADDCOL sand ADDROW sky BREAK sun AND moon'), [])
  t.match(divided('OUTBREAK ADDCOL sand').warnings, [{ code: 'regional_keyword_hidden', message: /"BREAK" in "OUTBREAK"/, field: 'prompt' }])
  t.match(divided('addpower ADDCOL addpower').warnings, [{ message: /"addp" in "addpower"/ }], 'once each')
  t.strictSame(codes('LANDSCAPE ADDCOL sand'), [], 'AND stays AND')
  t.strictSame(codes('LANDSCAPE ADDCOL sand', keepAnd.with(12, false)), ['regional_keyword_hidden'])
  t.strictSame(codes('sea ADDP sand'), ['regional_keyword_hidden'], 'which would leave the matrix')
  t.strictSame(codes('sea ADDP sand', keepAnd.with(2, 'Prompt')), [])
  t.strictSame(codes('OUTBREAK', [false]), [])
})

t.test('Latent mode gives a warning on Forge', async t => {
  t.match(divided('sea ADDCOL sand', latent, { kind: 'forge' }).warnings, [{ code: 'regional_latent_on_forge' }])
  t.strictSame(divided('sea ADDCOL sand', keepAnd, { kind: 'forge' }).warnings, [])
})
