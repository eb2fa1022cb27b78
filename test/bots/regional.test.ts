import t from 'tap'
import type { RegionalConfig } from '../../schemas/bots-extensions.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { dividePrompt, keywords } from '../../src/simulator/regional.ts'
import { regionalScript, type RegionalRequest, type RegionalScript } from '../../src/bots/regional.ts'
import fc from '../property.ts'

const four = {
  common_prompt: '', region1_prompt: 'r1', region2_prompt: 'r2', region3_prompt: 'r3', region4_prompt: 'r4'
} as const

function script (config: RegionalConfig, more: Partial<RegionalRequest> = {}): RegionalScript {
  return regionalScript({ config, prompt: 'all', negativePrompt: '', ...more })
}

/** The regions in which the extension generates each prompt, in hundredths of the image. */
function drawn ({ prompt, script: { args } }: RegionalScript) {
  const [, , , matrixMode, , , ratios, , useBase, useCommon] = args
  const { regions, base } = dividePrompt(prompt, { matrixMode, ratios, useBase, useCommon, breakDivides: true })
  const hundredths = (share: number) => Math.round(share * 100)
  return {
    base,
    regions: regions?.map(({ box, prompt }) => ({
      prompt, box: [box.left, box.top, box.right, box.bottom].map(hundredths)
    })) ?? null
  }
}

t.test('each layout divides the image as its name says', async t => {
  const layouts: Array<[RegionalConfig['layout'], string, string, number[][]]> = [
    ['vertical', 'Columns', '1,1', [[0, 0, 50, 100], [50, 0, 100, 100]]],
    ['horizontal', 'Rows', '1,1', [[0, 0, 100, 50], [0, 50, 100, 100]]],
    ['three_columns', 'Columns', '1,1,1', [[0, 0, 33, 100], [33, 0, 67, 100], [67, 0, 100, 100]]],
    ['four_columns', 'Columns', '1,1,1,1', [[0, 0, 25, 100], [25, 0, 50, 100], [50, 0, 75, 100], [75, 0, 100, 100]]],
    ['quadrants', 'Columns', '1,1,1;1,1,1', [[0, 0, 50, 50], [50, 0, 100, 50], [0, 50, 50, 100], [50, 50, 100, 100]]]
  ]
  for (const [layout, mode, ratios, boxes] of layouts) {
    const made = script({ ...four, layout })
    t.strictSame(made.script, {
      name: 'Regional Prompter',
      args: [
        true, false, 'Matrix', mode, 'Mask', 'Prompt', ratios, '0.2', false, true, false, 'Attention', true, '0', '0',
        '0.4', '', '0', '0', false
      ]
    }, layout)
    t.strictSame(drawn(made).regions, boxes.map((box, index) => ({ box, prompt: `all, r${index + 1}` })), layout)
    t.strictSame(made.warnings, [])
  }
})

t.test('the request of the old README becomes this prompt', async t => {
  const made = script({
    layout: 'three_columns',
    common_prompt: 'fantasy tavern scene',
    region1_prompt: 'knight in armor drinking',
    region2_prompt: 'fireplace with warm lighting',
    region3_prompt: 'bard playing lute'
  }, { prompt: 'masterpiece, high quality', negativePrompt: 'blurry', loras: [{ name: 'x.safetensors', weight: 0.8 }] })
  t.equal(made.prompt, 'masterpiece, high quality, fantasy tavern scene ADDCOMM knight in armor drinking ADDCOL ' +
    'fireplace with warm lighting ADDCOL bard playing lute <lora:x:0.8>')
  t.equal(made.negativePrompt, 'blurry')
})

t.test('missing regions repeat the first two, and two are enough for two', async t => {
  const { region1_prompt: one, region2_prompt: two } = four
  const texts = (config: RegionalConfig) => drawn(script(config, { prompt: '' })).regions?.map(({ prompt }) => prompt)
  const pair = { region1_prompt: one, region2_prompt: two }
  t.strictSame(texts({ layout: 'quadrants', ...pair }), ['r1', 'r2', 'r1', 'r2'])
  t.strictSame(texts({ layout: 'three_columns', ...pair, region3_prompt: null }), ['r1', 'r2', 'r1'])
  t.strictSame(texts({ layout: 'vertical', ...four }), ['r1', 'r2'])
  t.strictSame(script({ layout: 'vertical', ...pair }, { prompt: '' }).script.args.slice(8, 11), [false, false, false],
    'no common part where there is nothing common')
  t.equal(script({ layout: 'vertical', ...pair, common_prompt: 'all' }).prompt, 'all ADDCOMM r1 ADDCOL r2', 'said once')
})

t.test('ratios, rows, columns and a base can place regions anywhere', async t => {
  const boxes = (config: RegionalConfig) => drawn(script(config)).regions?.map(({ box }) => box)
  t.strictSame(boxes({ ...four, layout: 'three_columns', ratios: [1, 2, 1] }), [[0, 0, 25, 100], [25, 0, 75, 100], [75, 0, 100, 100]])
  t.strictSame(boxes({ ...four, layout: 'horizontal', ratios: [1, 3] }), [[0, 0, 100, 25], [0, 25, 100, 100]])
  t.strictSame(boxes({ ...four, layout: 'quadrants', ratios: [3, 1], row_ratios: [1, 2] }),
    [[0, 0, 75, 33], [75, 0, 100, 33], [0, 33, 75, 100], [75, 33, 100, 100]])
  const cells = (...shares: number[]) => shares.map(ratio => ({ ratio, prompt: 'x' }))
  t.strictSame(boxes({ layout: 'custom', rows: [{ ratio: 1, cells: cells(1) }, { ratio: 2, cells: cells(1, 1, 2) }] }),
    [[0, 0, 100, 33], [0, 33, 25, 100], [25, 33, 50, 100], [50, 33, 100, 100]])
  t.strictSame(boxes({ layout: 'custom', columns: [{ ratio: 2, cells: cells(1) }, { ratio: 1, cells: cells(1, 3) }] }),
    [[0, 0, 67, 100], [67, 0, 100, 25], [67, 25, 100, 100]])
  t.strictSame(boxes({ layout: 'custom', columns: [{ cells: cells(1) }, { cells: cells(1) }] }), [[0, 0, 50, 100], [50, 0, 100, 100]])

  const based = script({ ...four, layout: 'vertical', base_prompt: 'wood', base_ratio: 0.3 })
  t.equal(based.prompt, 'all ADDCOMM wood ADDBASE r1 ADDCOL r2')
  t.strictSame(based.script.args.slice(7, 10), ['0.3', true, true])
  t.match(drawn(based), { base: 'all, wood', regions: [{ prompt: 'all, r1' }, { prompt: 'all, r2' }] })
})

t.test('each region can have its own negative prompt', async t => {
  const config: RegionalConfig = { ...four, layout: 'quadrants', negative_regions: ['n1', 'n2', 'n3', 'n4'] }
  const made = script(config, { negativePrompt: 'blurry' })
  t.equal(made.negativePrompt, 'blurry ADDCOMM n1 ADDCOL n2 ADDROW n3 ADDCOL n4')
  t.equal(made.script.args[10], true)
  t.equal(script({ ...config, base_prompt: 'wood' }).negativePrompt, 'ADDBASE n1 ADDCOL n2 ADDROW n3 ADDCOL n4')
})

t.test('a LoRA counts once, wherever it is written', async t => {
  const config = {
    layout: 'three_columns', common_prompt: 'tavern <lora:film:0.5>', region1_prompt: 'knight <lora:armor:1:0.5>', region2_prompt: 'fire'
  } as const
  const made = script(config, { prompt: 'best, <lora:film:0.7>', loras: [{ name: 'sub/armor.safetensors', weight: 2 }, { name: 'y', weight: 1 }] })
  t.equal(made.prompt, 'best, tavern ADDCOMM knight ADDCOL fire ADDCOL knight <lora:film:0.7> <lora:armor:1:0.5> <lora:y:1>')
  t.match(made.warnings, [
    { code: 'regional_lora_is_global', field: 'regional_config.region1_prompt' },
    { code: 'lora_named_twice', field: 'regional_config.common_prompt' }, { code: 'lora_named_twice' }
  ])
  const latent = script({ ...config, calc_mode: 'Latent', region2_loras: [{ name: 'fire', weight: 0.3 }, { name: 'y', weight: 0.1 }] },
    { prompt: 'best', loras: [{ name: 'y', weight: 1 }] })
  t.equal(latent.prompt, 'best, tavern ADDCOMM knight <lora:armor:1:0.5> <lora:film:0.5> <lora:y:1> ADDCOL ' +
    'fire <lora:fire:0.3> <lora:y:0.1> <lora:film:0.5> ADDCOL knight <lora:armor:1:0.5> <lora:film:0.5> <lora:y:1>')
  t.equal(latent.script.args[11], 'Latent')
})

t.test('the extension\'s keywords in a text have no effect', async t => {
  const config = { layout: 'vertical', region1_prompt: 'a LANDSCAPE BREAK AND a sea', region2_prompt: 'ADDCOL fire, ADDROW, OUTBREAK' } as const
  const made = script(config, { prompt: 'sun addp BREAK', negativePrompt: 'BREAK, ADDBASEMENT addpower' })
  t.equal(made.prompt, 'sun ADDCOMM a landscape, and a sea ADDCOL fire, outbreak')
  t.equal(made.negativePrompt, 'addbasement addpower', 'in the negative prompt small letters are safe')
  t.equal(made.warnings.length, 7)
  t.match(made.warnings, [{ code: 'regional_keyword_removed', message: /^addp divides/, field: 'prompt' }])
  t.equal(script({ layout: 'vertical', region1_prompt: 'lunch break and sand', region2_prompt: '' }).prompt,
    'all ADDCOMM lunch break and sand ADDCOL')
})

t.test('impossible values are rejected with their field', async t => {
  const pair = { layout: 'vertical', region1_prompt: 'r1', region2_prompt: 'r2' } as const
  const wrong: Array<[string, RegionalConfig, string, Partial<RegionalRequest>?]> = [
    ['a word that holds an order', { ...pair, region2_prompt: 'an addportrait' }, 'regional_config.region2_prompt'],
    ['the same in capitals', { ...pair, common_prompt: 'ADDCOLOR' }, 'prompt'],
    ['a LoRA called so', { ...pair }, 'active_loras', { loras: [{ name: 'addPhoto', weight: 1 }] }],
    ['the same in the prompt', { ...pair, region1_prompt: '<lora:addPhoto:1>' }, 'regional_config.region1_prompt'],
    ['a LoRA that divides', { ...pair }, 'prompt', { prompt: '<lora:BREAKdance:1>' }],
    ['a LoRA that divides in Latent mode', { ...pair, calc_mode: 'Latent' }, 'prompt', { prompt: '<lora:ANDROID:1>' }],
    ['too few ratios', { ...pair, ratios: [1] }, 'regional_config.ratios'],
    ['ratios of rows without rows', { ...pair, row_ratios: [1, 1] }, 'regional_config.row_ratios'],
    ['rows beside a named layout', { ...pair, rows: [] }, 'regional_config.rows'],
    ['no second region', { layout: 'vertical', region1_prompt: 'r1' }, 'regional_config.region2_prompt'],
    ['too few negative regions', { ...pair, negative_regions: ['x'] }, 'regional_config.negative_regions'],
    ['custom without anything', { layout: 'custom' }, 'regional_config.rows'],
    ['custom with a single region', { layout: 'custom', rows: [{ cells: [{ prompt: 'x' }] }] }, 'regional_config.rows'],
    ['custom with both', { layout: 'custom', rows: [], columns: [] }, 'regional_config.columns'],
    ['custom with regions of the others', { ...pair, layout: 'custom' }, 'regional_config.region1_prompt']
  ]
  for (const [what, config, field, more] of wrong) {
    const error = t.throws(() => script(config, more), ServiceError, what)
    t.equal(error instanceof ServiceError && error.details.field, field, what)
  }
  t.doesNotThrow(() => script(pair, { prompt: '<lora:ANDROID:1>' }))
})

t.test('for any input, every region is at its position and has its text', async t => {
  const word = fc.oneof(
    fc.constantFrom('cat', 'LAND', 'and', 'AND', 'break', 'BREAK', 'ADDROW', 'addcol', 'ADDBASE', 'ADDCOMM', 'Addp',
      'UNBREAKABLE', '(x:1.2)', ',', '<lora:a:1>', '<lora:b:0.5>'),
    fc.string({ maxLength: 8 }).filter(text => !/add(p|col|row)/i.test(text) && !/[<>]/.test(text))
  )
  const text = fc.array(word, { maxLength: 6 }).map(words => words.join(' '))
  const ratio = fc.integer({ min: 1, max: 9 })
  const cells = fc.array(fc.record({ ratio, prompt: text }), { minLength: 1, maxLength: 4 })
  const lines = fc.array(fc.record({ ratio, cells }), { minLength: 1, maxLength: 4 })
    .filter(lines => lines.flatMap(({ cells }) => cells).length > 1)
  fc.assert(fc.property(lines, fc.boolean(), text, text, (given, isRows, prompt, negativePrompt) => {
    const config: RegionalConfig = isRows ? { layout: 'custom', rows: given } : { layout: 'custom', columns: given }
    const made = regionalScript({ config, prompt, negativePrompt, loras: [{ name: 'c', weight: 1 }] })
    const { regions } = drawn(made)
    const total = given.reduce((sum, { ratio }) => sum + ratio, 0)
    let before = 0
    const expected = given.flatMap(({ ratio, cells }) => {
      const [from, to] = [before / total, (before += ratio) / total].map(share => Math.round(share * 100))
      const width = cells.reduce((sum, cell) => sum + cell.ratio, 0)
      let left = 0
      return cells.map(cell => {
        const [start, end] = [left / width, (left += cell.ratio) / width].map(share => Math.round(share * 100))
        return isRows ? [start, from, end, to] : [from, start, to, end]
      })
    })
    t.strictSame(regions?.map(({ box }) => box), expected)
    const tags = made.prompt.match(/<lora:[^>]*>/g) ?? []
    t.equal(new Set(tags.map(tag => tag.split(':')[1])).size, tags.length, 'no LoRA counts twice')
    t.notOk(keywords.some(keyword => made.negativePrompt.includes(keyword)))
  }), { numRuns: 300 })
})
