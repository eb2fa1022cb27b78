import fc from '../property.ts'
import t from 'tap'
import { packInfo, unpackInfo } from '../../src/jobs/job.ts'

const prompts = { prompt: 'a lighthouse at dusk, oil on canvas', negative_prompt: 'blurry' }
const infotext = `${prompts.prompt}\nNegative prompt: blurry\nSteps: 20`
const info = {
  prompt: prompts.prompt,
  all_prompts: [prompts.prompt, prompts.prompt],
  negative_prompt: 'blurry',
  all_negative_prompts: ['blurry', 'blurry'],
  seed: 1,
  infotexts: [infotext, infotext]
}

t.test('the record does not repeat its other fields', async t => {
  const packed = packInfo(info, prompts)
  t.notMatch(JSON.stringify(packed), /lighthouse/)
  t.same(unpackInfo(packed, prompts), info)
})

t.test('prompts that a style has changed are kept', async t => {
  const prompt = 'cinematic a lighthouse'
  const styled = { ...info, prompt, all_prompts: [prompt], infotexts: [`${prompt}\nSteps: 1`] }
  t.same(unpackInfo(packInfo(styled, prompts), prompts), styled)
})

t.test('every info of a server comes back unchanged', async () => {
  const text = fc.oneof(fc.constantFrom('', 'a', 'a b', 'blurry'), fc.string({ minLength: 1 }))
  const said = fc.record({
    prompt: text,
    all_prompts: fc.array(text),
    negative_prompt: text,
    all_negative_prompts: fc.array(text),
    infotexts: fc.array(text)
  }, { requiredKeys: [] })
  fc.assert(fc.property(said, fc.record({ prompt: text, negative_prompt: text }), (info, prompts) => {
    t.same(unpackInfo(packInfo(info, prompts), prompts), info)
  }), { numRuns: 300 })
})
