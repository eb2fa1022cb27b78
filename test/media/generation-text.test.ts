import { readFile, writeFile } from 'node:fs/promises'
import { deflateSync } from 'node:zlib'
import t from 'tap'
import { parametersOf, readGeneration, readGenerationText, readText } from '../../src/media/generation-text.ts'
import { inRepository } from '../root.ts'
import {
  canvas, exifBlock, gifWithComment, jpegWith, jpegWithExif, pngTexts, pngWithChunks, pngWithExif, pngWithLateChunks,
  pngWithTexts, stealthPng, webpWithExif
} from './made-images.ts'

const infotext = 'a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 40x24'

/** Rows of the table under a heading of docs/parameters.md. */
async function tableUnder (heading: string): Promise<string[][]> {
  const [, part = ''] = (await readFile(inRepository('docs/parameters.md'), 'utf8')).split(`## ${heading}\n`)
  const rows = part.split('\n## ')[0]?.split('\n').filter(line => line.startsWith('|')) ?? []
  return rows.map(row => row.split('|').slice(1, -1).map(cell => cell.trim()))
}

/** The parameters that all programs write in this test, as fields of a submission. */
const expected = {
  Prompt: { prompt: /^a red fox/ },
  Negative: { negative_prompt: 'blurry' },
  Steps: { steps: '24' },
  Sampler: { sampler_name: 'DPM++ 2M' },
  Scheduler: { scheduler: 'Karras' },
  CFG: { cfg_scale: '6.5' },
  Seed: { seed: '9007199254740993' },
  Size: { width: '832', height: '1216' },
  Checkpoint: { checkpoint_name: /^foxModel/ },
  LoRAs: { prompt: /<lora:fluffy:0.75>/ }
} as const

const seed = '9007199254740993'
const graph = `{
  "3": {"class_type": "KSampler", "inputs": {"seed": ${seed}, "steps": 24, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras",
    "denoise": 1, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "foxModel.safetensors"}, "is_changed": [NaN]},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 832, "height": 1216, "batch_size": 1}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox", "clip": ["10", 1]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
  "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
  "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
  "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "sub/fluffy.safetensors", "strength_model": 0.75, "strength_clip": 1,
    "model": ["4", 0], "clip": ["4", 1]}}
}`

const made: Readonly<Record<string, Record<string, string>>> = {
  'A1111, Forge, SD.Next, reForge': {
    parameters: `a red fox <lora:fluffy:0.75>\nNegative prompt: blurry\nSteps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: ${seed}, Size: 832x1216, Model: foxModel`
  },
  Fooocus: {
    fooocus_scheme: 'fooocus',
    parameters: JSON.stringify({ prompt: 'a red fox', negative_prompt: 'blurry', styles: '[]', performance: 'Speed', steps: 24, resolution: '(832, 1216)', guidance_scale: 6.5, sharpness: 2, base_model: 'foxModel', base_model_hash: '0123456789', loras: [['fluffy', 0.75, 'abc']], seed, sampler: 'dpmpp_2m', scheduler: 'karras', metadata_scheme: 'fooocus', version: 'Fooocus v2.5.5' })
  },
  SwarmUI: {
    parameters: `{"sui_image_params": {"prompt": "a red fox", "negativeprompt": "blurry", "model": "foxModel", "seed": ${seed}, "steps": 24, "cfgscale": 6.5, "width": 832, "height": 1216, "sampler": "dpmpp_2m", "scheduler": "karras", "loras": ["fluffy"], "loraweights": ["0.75"], "swarm_version": "0.9.6"}, "sui_extra_data": {"date": "2025-01-01"}}`
  },
  ComfyUI: { prompt: graph, workflow: '{"nodes": [], "links": []}' },
  'InvokeAI 3 and later': {
    invokeai_metadata: `{"app_version": "5.6.0", "positive_prompt": "a red fox", "negative_prompt": "blurry", "width": 832, "height": 1216, "seed": ${seed}, "cfg_scale": 6.5, "steps": 24, "scheduler": "dpmpp_2m_k", "model": {"name": "foxModel", "base": "sdxl"}, "loras": [{"model": {"name": "fluffy"}, "weight": 0.75}]}`
  },
  'InvokeAI 2': {
    'sd-metadata': `{"model": "stable diffusion", "model_weights": "foxModel", "app_version": "2.3.5", "image": {"prompt": [{"prompt": "a red fox [blurry]", "weight": 1}], "steps": 24, "cfg_scale": 6.5, "width": 832, "height": 1216, "seed": ${seed}, "sampler": "k_dpmpp_2m"}}`
  },
  'InvokeAI 1': { Dream: `"a red fox [blurry]" -s 24 -S ${seed} -W 832 -H 1216 -C 6.5 -A k_dpmpp_2m` },
  NovelAI: {
    Software: 'NovelAI',
    Source: 'NovelAI Diffusion V4',
    Description: 'a red fox',
    Comment: `{"prompt": "a red fox", "uc": "blurry", "steps": 24, "height": 1216, "width": 832, "scale": 6.5, "seed": ${seed}, "sampler": "k_dpmpp_2m", "noise_schedule": "karras"}`
  }
}

t.test('each cell of the table of programs is true', async t => {
  const [heads = [], , ...rows] = await tableUnder('Which program writes what')
  t.strictSame(rows.map(([program = '']) => program).sort(), Object.keys(made).sort())
  t.strictSame(heads.slice(1), Object.keys(expected))
  for (const [program = '', ...cells] of rows) {
    const image = await readGeneration(pngWithTexts(made[program] ?? {}))
    const parameters = parametersOf(image?.infotext ?? null)
    t.notMatch(JSON.stringify(parameters), /[{}].*[{}].*[{}]/, `${program}: no JSON`)
    for (const [index, cell] of cells.entries()) {
      const column = heads[index + 1] as keyof typeof expected
      if (cell === '●') t.match(parameters, expected[column], `${program}: ${column}`)
      else t.notMatch(parameters, expected[column], `${program}: no ${column}`)
    }
    t.match(parametersOf(readText(image?.text ?? '').infotext), parameters, `${program}: its text says the same`)
  }
})

const utf16 = (text: string, little = false) => little ? Buffer.from(text, 'utf16le') : Buffer.from(text, 'utf16le').swap16()

t.test('texts are read from each position in a file', async t => {
  const unicode = exifBlock(utf16(infotext), { head: 'UNICODE\0' })
  const places: Readonly<Record<string, Buffer[]>> = {
    ...Object.fromEntries(Object.entries(pngTexts).map(([place, make]) => [place, [make(infotext)]])),
    'PNG: eXIf': [pngWithExif(unicode)],
    'JPEG: EXIF UserComment': [await jpegWithExif(unicode)],
    'JPEG: comment': [jpegWith(0xfe, Buffer.from(infotext), await canvas().jpeg().toBuffer())],
    'WebP: EXIF UserComment': [await webpWithExif(unicode)],
    'AVIF: EXIF UserComment': [await canvas().avif().withExif({ IFD2: { UserComment: infotext } }).toBuffer()],
    'TIFF: EXIF UserComment': [tiffWithComment(infotext)],
    'GIF: comment': [await gifWithComment(infotext)],
    'Alpha bits (stealth_pnginfo, stealth_pngcomp)': [await stealthPng(infotext, 'stealth_pnginfo'), await stealthPng(infotext, 'stealth_pngcomp')],
    'Colour bits (stealth_rgbinfo, stealth_rgbcomp)': [await stealthPng(infotext, 'stealth_rgbinfo'), await stealthPng(infotext, 'stealth_rgbcomp')]
  }
  const [, , ...rows] = await tableUnder('Where in a file it may stand')
  t.strictSame(rows.map(([place = '']) => place), Object.keys(places))
  for (const [place, images] of Object.entries(places)) {
    for (const image of images) t.equal(await readGenerationText(image), infotext, place)
  }
  const path = `${t.testdir()}/a.png`
  await writeFile(path, await stealthPng(infotext, 'stealth_pngcomp'))
  t.equal(await readGenerationText(path), infotext, 'from a file')
})

/** An image of one pixel with a single directory. */
function tiffWithComment (text: string): Buffer {
  const comment = Buffer.concat([Buffer.from('ASCII\0\0\0'), Buffer.from(text)])
  const entries: number[][] = [
    [256, 3, 1, 1], [257, 3, 1, 1], [258, 3, 1, 8], [259, 3, 1, 1], [262, 3, 1, 1], [273, 4, 1, 400],
    [277, 3, 1, 1], [278, 3, 1, 1], [279, 4, 1, 1],
    [0x9286, 7, comment.length, 404]
  ]
  const bytes = Buffer.alloc(404)
  bytes.write('II*\0', 'latin1')
  bytes.writeUInt32LE(8, 4)
  bytes.writeUInt16LE(entries.length, 8)
  for (const [index, [tag = 0, type = 0, count = 0, value = 0]] of entries.entries()) {
    const at = 10 + index * 12
    bytes.writeUInt16LE(tag, at)
    bytes.writeUInt16LE(type, at + 2)
    bytes.writeUInt32LE(count, at + 4)
    bytes.writeUInt32LE(value, at + 8)
  }
  return Buffer.concat([bytes, comment])
}

t.test('a comment is read in every encoding, with and without its header', async t => {
  const japanese = '猫 cat\nSteps: 20, Sampler: Euler a, Seed: 1'
  const latin = 'café\nSteps: 20, Seed: 1'
  const cases: Array<[string, string, Buffer]> = [
    ['UTF-8 without header', japanese, exifBlock(Buffer.from(japanese))],
    ['UTF-8 without header, at the top', japanese, exifBlock(Buffer.from(japanese), { atTop: true })],
    ['UTF-8 with a header of zeros', japanese, exifBlock(Buffer.from(japanese), { head: '\0'.repeat(8) })],
    ['UTF-8 that calls itself ASCII', japanese, exifBlock(Buffer.from(japanese), { head: 'ASCII\0\0\0' })],
    ['Latin-1', latin, exifBlock(Buffer.from(latin, 'latin1'), { head: 'ASCII\0\0\0' })],
    ['JIS', '\u30c6\u30b9\u30c8\nSteps: 20, Seed: 1', exifBlock(Buffer.from('8365835883670a53746570733a2032302c20536565643a2031', 'hex'), { head: 'JIS\0\0\0\0\0' })],
    ['UTF-16 without header', japanese, exifBlock(utf16(japanese), {})],
    ['UTF-16 with a mark', japanese, exifBlock(Buffer.concat([Buffer.from([0xff, 0xfe]), utf16(japanese, true)]), { head: 'UNICODE\0' })]
  ]
  for (const order of ['MM', 'II'] as const) {
    for (const little of [false, true]) {
      cases.push([`UTF-16, ${order}, ${little ? 'little' : 'big'}`, japanese, exifBlock(utf16(japanese, little), { head: 'UNICODE\0', order })])
    }
  }
  for (const [what, text, exif] of cases) {
    t.equal(await readGenerationText(await jpegWithExif(exif)), text, `${what}, JPEG`)
    t.equal(await readGenerationText(pngWithExif(exif)), text, `${what}, PNG`)
  }
})

t.test('ComfyUI writes its graph into fields of EXIF', async t => {
  const exif = exifBlock(Buffer.from(`prompt:${graph}\0`), { atTop: true, tag: 0x0110 })
  t.match(await readGeneration(await webpWithExif(exif)), { source: 'ComfyUI', infotext: { prompt: /^a red fox/ } })
})

t.test('unreadable text gets an error, and never becomes a prompt', async t => {
  const cases: Array<[string, Record<string, string>, RegExp]> = [
    ['a workflow alone', { workflow: '{"nodes": [{"id": 1}], "links": [], "version": 0.4}' }, /ComfyUI workflow/],
    ['a graph that loads only', { prompt: '{"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}' }, /no step in it samples/],
    ['another program', { parameters: '{"tool": "x", "words": "a cat"}' }, /JSON of no program/],
    ['broken JSON', { parameters: '{"sui_image_params": {"prompt": "a cat"' }, /JSON of no program/],
    ['a list', { parameters: '[{"prompt": "a cat"}]' }, /JSON of no program/]
  ]
  for (const [what, texts, sentence] of cases) {
    const found = await readGeneration(pngWithTexts(texts))
    t.match(found, { source: null, text: '', infotext: null, notes: [sentence] }, what)
  }
  t.equal(await readGeneration(await canvas().png().toBuffer()), null)
  const signed = jpegWith(0xfe, Buffer.from('CREATOR: gd-jpeg v1.0 (using IJG JPEG v80), quality = 90'), await canvas().jpeg().toBuffer())
  t.equal(await readGeneration(signed), null, 'a comment of an encoder')
  for (const prompt of ['[[blurry]], a cat', '{red|blue} cat', '{"red"|"blue"} car', '["a", b]']) {
    t.match(readText(prompt), { source: 'A1111', infotext: { prompt } }, 'brackets of prompts')
  }
})

t.test('the text of a PNG is found behind its pixels too, in Latin-1 and in UTF-8', async t => {
  const infotext = 'café at dusk\nSteps: 20, Seed: 1'
  for (const encoding of ['latin1', 'utf8'] as const) {
    const text = Buffer.concat([Buffer.from('parameters\0', 'latin1'), Buffer.from(infotext, encoding)])
    t.equal(await readGenerationText(pngWithChunks(['tEXt', text])), infotext, `before, ${encoding}`)
    t.equal(await readGenerationText(pngWithLateChunks(['tEXt', text])), infotext, `behind, ${encoding}`)
  }
})

t.test('bombs and fake blocks use few resources', async t => {
  const bomb = deflateSync(Buffer.alloc(8 * 1_048_576))
  const data = Buffer.concat([Buffer.from('parameters\0\0', 'latin1'), bomb])
  t.equal(await readGenerationText(pngWithChunks(...Array.from({ length: 200 }, (): [string, Buffer] => ['zTXt', data]))), null)
  const claims = exifBlock(Buffer.from('x'))
  claims.writeUInt16BE(0xffff, 8)
  t.equal(await readGenerationText(await jpegWithExif(claims)), null)
  const circle = exifBlock(Buffer.from('x'))
  circle.writeUInt32BE(8, 18)
  t.equal(await readGenerationText(await jpegWithExif(circle)), null)
  const endless = await stealthPng('x', 'stealth_pngcomp')
  t.equal(await readGenerationText(endless.subarray(0, -40)), null, 'half a picture')
})
