import fc from '../property.ts'
import t from 'tap'
import { type JobResult, packInfo, packResult, parseJob, unpackInfo, unpackResult } from '../../src/jobs/job.ts'

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

const image = {
  name: '2026-11-30T05-20-26-851Z_0.png',
  mime: 'image/png',
  width: 512,
  height: 512,
  bytes: 246859,
  sha256: '43756d'.repeat(10),
  role: 'image',
  seed: 12345678901234567890n
} as const
const result: JobResult = { images: [image, { ...image, role: 'grid', seed: null }], info: { ...info, sd_model_name: 'a; b|"c"' }, partial: false, warnings: [] }

t.test('a packed result comes back unchanged, and is much shorter', async t => {
  const submission = { parameters: prompts }
  const { text, outputs } = packResult(result, submission)
  t.same(unpackResult(text, submission), result)
  t.same(outputs, [image.name, image.name])
  t.ok(text.length < 350, `${text.length} characters`)
  t.match(text, /^z1;2;[\w+/=]+;a; b\|"c"$/, 'scripts read the number of images and the checkpoint')
  t.equal(Buffer.from(text).toString(), text, 'Redis gives it back as text')
  t.equal(unpackResult('', submission), null)
  t.equal(unpackResult(undefined, submission), null)
})

t.test('any result of any prompts comes back unchanged', async () => {
  const text = fc.oneof(fc.constantFrom('', 'blurry', '\ud800', '灯台'.repeat(20_000)), fc.string({ unit: 'binary' }))
  const any = fc.record({ prompt: text, negative_prompt: text }, { requiredKeys: [] })
  fc.assert(fc.property(any, text, fc.constantFrom(null, info), (parameters, message, info) => {
    const given: JobResult = {
      images: [image], info: info === null ? null : { ...info, infotexts: [`${String(parameters.prompt)}\n${message}`] }, partial: true, warnings: []
    }
    t.same(unpackResult(packResult(given, { parameters }).text, { parameters }), given)
  }), { numRuns: 100 })
})

t.test('a record of an earlier version is readable', async t => {
  const submission = JSON.stringify({
    mode: 'txt2img',
    parameters: { negative_prompt: 'blurry' },
    checkpoint: null,
    checkpointTitle: null,
    anyServer: true,
    appType: 'forge',
    source: 'x',
    onMissing: 'default',
    onDifference: 'fail',
    warnings: []
  })
  const plain = JSON.stringify({
    images: [{ ...image, seed: 5 }], info: packInfo(info, prompts), partial: false, warnings: []
  })
  const job = parseJob('one', { status: 'completed', submission, prompt: prompts.prompt, result: plain, priority: '5', run: '1' })
  t.match(job, { result: { info, images: [{ seed: 5 }] }, submission: { anyServer: true, onMissing: 'default', onDifference: 'fail' } })
})
