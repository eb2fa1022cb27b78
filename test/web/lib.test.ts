import { build } from 'esbuild'
import t from 'tap'
import { inRepository } from '../root.ts'

/** A module of the pages that needs no browser. */
async function load (name: string): Promise<Record<string, (...args: unknown[]) => unknown>> {
  const { outputFiles: [file] } = await build({
    entryPoints: [inRepository(`web/lib/${name}.ts`)],
    bundle: true,
    format: 'esm',
    // The bundle of the tests replaces this name where it is whole.
    define: { [['import.meta', 'url'].join('.')]: '"http://localhost/ui/"' },
    write: false
  })
  return await import(`data:text/javascript,${encodeURIComponent(file?.text ?? '')}`) as Record<string, (...args: unknown[]) => unknown>
}

t.test('LoRAs in a prompt are read, weighted, replaced and removed, and nothing else of it changes', async t => {
  const { lorasIn, withLora, withOtherLora, withoutLora, withWeight } = await load('prompt-loras')
  const prompt = 'a <b> boat, <lora:ink:0.5>, sea <lyco:wave>, <lora:ink:-1>'
  t.strictSame(lorasIn?.(prompt), [
    { name: 'ink', weight: 0.5, index: 0 }, { name: 'wave', weight: 1, index: 1 }, { name: 'ink', weight: -1, index: 2 }
  ])
  t.equal(withWeight?.(prompt, 1, '0.3'), 'a <b> boat, <lora:ink:0.5>, sea <lyco:wave:0.3>, <lora:ink:-1>')
  t.equal(withoutLora?.(prompt, 0), 'a <b> boat, sea <lyco:wave>, <lora:ink:-1>')
  t.equal(withoutLora?.('<lora:a:1>, boat', 0), 'boat')
  t.equal(withOtherLora?.(prompt, 'ink', 'ink v2'), 'a <b> boat, <lora:ink v2:0.5>, sea <lyco:wave>, <lora:ink v2:-1>')
  t.equal(withLora?.('a boat', 'ink', 0.8, ['ink style']), 'a boat, ink style, <lora:ink:0.8>')
  t.equal(withLora?.('Ink Style boat', 'ink', 0.8, ['ink style']), 'Ink Style boat, <lora:ink:0.8>', 'no trigger word twice')
  t.equal(withLora?.('', 'ink', 1), '<lora:ink:1>')
})

t.test('several values are lists and ranges, each combined with each', async t => {
  const { applied, combinationsOf, labelOf, sharedSeed, valuesOf } = await load('sweep')
  t.strictSame(valuesOf?.('20, 30 ,,40-60:10,5-6:0.5,Euler a,DPM++ 2M'),
    ['20', '30', '40', '50', '60', '5', '5.5', '6', 'Euler a', 'DPM++ 2M'])
  t.strictSame(valuesOf?.('9-3,1-5:0'), ['9-3', '1-5:0'], 'no range at all stays what it is')
  t.ok((valuesOf?.('0-1000000') as unknown[]).length <= 101, 'no list without end')
  const sweeps = [{ name: 'steps', text: '20,30' }, { name: 'prompt', text: 'red, green' }, { name: 'seed', text: '' }]
  const combinations = combinationsOf?.(sweeps) as Array<Record<string, string>>
  t.strictSame(combinations, [
    { steps: '20', prompt: 'red' }, { steps: '20', prompt: 'green' },
    { steps: '30', prompt: 'red' }, { steps: '30', prompt: 'green' }
  ])
  t.strictSame(applied?.({ prompt: 'a red boat', steps: '1' }, combinations[3], sweeps), { prompt: 'a green boat', steps: '30' })
  t.equal(labelOf?.(combinations[3]), 'Steps 30, green')
  t.strictSame(combinationsOf?.([]), [{}], 'nothing to vary is one job')
  t.equal(sharedSeed?.({ seed: '7' }), '7')
  t.match(sharedSeed?.({ seed: '' }), /^\d+$/)
})

t.test('seeds of 64 bits keep their digits', async t => {
  const { parseExactly, numberOf } = await load('exact-json')
  t.strictSame(parseExactly?.('{"a":18446744073709551615,"b":[-9007199254740993,1.12345678901234567890,9007199254740991],"c":"\\"12345678901234567890,"}'), {
    a: '18446744073709551615', b: ['-9007199254740993', Number('1.12345678901234567890'), 9007199254740991], c: '"12345678901234567890,'
  })
  t.strictSame(['18446744073709551615', '7', '0.5'].map(text => numberOf?.(text)), ['18446744073709551615', 7, 0.5])
  const { requestOf, emptyForm } = await load('generation') as { requestOf: (form: object) => Promise<object>, emptyForm: object }
  t.match(await requestOf({ ...emptyForm, seed: '1234567890123456789' }), { generation_params: { seed: '1234567890123456789' } })
  const { valuesOf } = await load('sweep')
  t.strictSame(valuesOf?.('18446744073709551611-18446744073709551615:2'),
    ['18446744073709551611', '18446744073709551613', '18446744073709551615'])
})

t.test('the bar of a server\'s health follows its samples, and unknown parts stay empty', async t => {
  const { healthPieces } = await load('health')
  const now = Date.parse('2026-11-21T12:00:00Z')
  const at = (minutes: number) => new Date(now - minutes * 60_000).toISOString()
  const { words, pieces } = healthPieces?.([
    { at: at(30), health: 'online', response_ms: 5 }, { at: at(15), health: 'offline', response_ms: null },
    { at: at(10), health: 'online', response_ms: 5 }
  ], now) as { words: string, pieces: Array<{ online: number | null }> }
  t.equal(words, 'the last 30 min 0 s', 'nothing is said about a time before the first sample')
  t.equal(pieces.length, 48)
  const share = (minutes: number) => pieces[Math.floor((60 - minutes) / 1.25)]?.online
  t.strictSame([share(40), share(25), share(12), share(5)], [null, 1, 0, 1])
  t.match(healthPieces?.([{ at: at(600), health: 'online', response_ms: 5 }], now), { words: 'the last 10 h 0 min' })
  t.match(healthPieces?.([{ at: at(1600), health: 'online', response_ms: 5 }], now), { words: 'the last day' })
})
