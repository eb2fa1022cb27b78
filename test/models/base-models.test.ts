import t from 'tap'
import { findCheckpoint, findLora } from '../../src/a1111/names.ts'
import { foldedText } from '../../src/lib/text.ts'
import { baseModelOf, isSameBase, trainedBase } from '../../src/model-facts/base-models.ts'
import { startService } from '../helper.ts'
import { folderWith, safetensors, scan } from './files.ts'

t.test('base models are recognized in every source\'s notation', async t => {
  const words: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
    'SD 1': { 'SD 1.5': ['SD 1.5', 'SD 1.5 LCM', 'sd_1.5', 'sd_v1', 'SD1', 'stable-diffusion-v1/lora', 'sd15'], 'SD 1.4': ['SD 1.4'] },
    'SD 2': { 'SD 2.1': ['SD 2.1', 'SD 2.1 768'], 'SD 2': ['sd_v2', 'SD2', 'stable-diffusion-v2-768-v/lora', 'sd_v2_768_v'] },
    SDXL: {
      SDXL: ['SDXL', 'SDXL 1.0', 'SDXL 0.9', 'sdxl_base_v1-0', 'sdxl_1.0', 'stable-diffusion-xl-v1-base/lora', 'stable-diffusion-xl-v1-refiner'],
      'SDXL Turbo': ['SDXL Turbo'],
      'SDXL Lightning': ['SDXL Lightning'],
      Pony: ['Pony', 'pony_v6'],
      Illustrious: ['Illustrious', 'illustrious-xl'],
      NoobAI: ['NoobAI', 'noobai_xl']
    },
    'SD 3': {
      'SD 3': ['SD 3', 'sd3', 'sd3_m', 'stable-diffusion-3-medium'],
      'SD 3.5': ['SD 3.5', 'sd3.5', 'sd_3.5'],
      'SD 3.5 Large': ['SD 3.5 Large', 'stable-diffusion-3.5-large/lora', 'sd3-5-large'],
      'SD 3.5 Medium': ['SD 3.5 Medium', 'stable-diffusion-v3-5-medium'],
      'SD 3.5 Large Turbo': ['SD 3.5 Large Turbo']
    },
    'Flux.1': {
      'Flux.1': ['flux1', 'flux', 'Flux', 'flux-1'],
      'Flux.1 D': ['Flux.1 D', 'flux-1-dev/lora', 'flux1_dev', 'flux.1-dev'],
      'Flux.1 S': ['Flux.1 S', 'flux-1-schnell', 'flux_schnell'],
      'Flux.1 Kontext': ['Flux.1 Kontext', 'flux_kontext', 'flux-1-dev-kontext'],
      'Flux.1 Krea': ['Flux.1 Krea']
    },
    'Flux.2': { 'Flux.2 D': ['Flux.2 D', 'flux2', 'flux_2', 'flux-2-dev'], 'Flux.2 Klein': ['Flux.2 Klein 9B'] },
    Chroma: { Chroma: ['Chroma', 'chroma', 'chroma/lora'] },
    Qwen: { Qwen: ['Qwen', 'qwen_image', 'Qwen-Image', 'qwen-image/lora'], 'Qwen Image Edit': ['qwen_image_edit'] },
    'Wan Video': {
      'Wan Video': ['Wan Video', 'wan'],
      'Wan Video 2.1': ['wan21', 'wan2.1', 'Wan Video 14B t2v', 'Wan Video 1.3B t2v', 'Wan Video 14B i2v 720p', 'wan_2_1_14b'],
      'Wan Video 2.2': ['Wan Video 2.2 T2V-A14B', 'wan22_14b', 'wan2.2'],
      'Wan Video 2.5': ['Wan Video 2.5 T2V']
    },
    HiDream: { HiDream: ['HiDream', 'hidream', 'hidream_i1', 'hidream-i1-full'] },
    'Z-Image': { 'Z-Image': ['z-image', 'zimage', 'z_image'], ZImageTurbo: ['ZImageTurbo', 'z-image-turbo', 'zimage:turbo'], ZImageBase: ['ZImageBase'] },
    'Hunyuan 1': { 'Hunyuan 1': ['Hunyuan 1', 'hunyuan-dit-g2-v1_2'] },
    'Hunyuan Video': { 'Hunyuan Video': ['Hunyuan Video', 'hunyuan_video'] },
    'Hunyuan Image': { 'Hunyuan Image': ['hunyuan-image-2.1', 'hunyuan_image'] },
    Lumina: { Lumina: ['Lumina', 'lumina2', 'lumina-2/lora'] },
    AuraFlow: { AuraFlow: ['AuraFlow', 'auraflow'], 'Pony V7': ['Pony V7'] },
    Kolors: { Kolors: ['Kolors', 'kolors'] },
    PixArt: { 'PixArt a': ['PixArt a', 'pixart-alpha'], 'PixArt E': ['PixArt E', 'pixart_sigma'], PixArt: ['pixart'] }
  }
  for (const [family, names] of Object.entries(words)) {
    for (const [name, all] of Object.entries(names)) {
      for (const word of all) t.strictSame(baseModelOf(word), { name, family }, word)
    }
  }
  for (const word of ['', 'Other', 'Unknown', 'ODOR', 'my own']) t.equal(baseModelOf(word), null, word)
})

t.test('the most specific name applies, and two names for one thing are equal', async t => {
  t.equal(trainedBase(['stable-diffusion-xl-v1-base/lora', 'sdxl_base_v1-0'], 'ponyDiffusionV6XL.safetensors'), 'Pony')
  t.equal(trainedBase(['sdxl_base_v1-0'], 'Illustrious-XL-v0.1.safetensors'), 'Illustrious')
  t.equal(trainedBase(['sdxl_base_v1-0'], 'noobaiXLNAIXL_vPred10.safetensors'), 'NoobAI')
  t.equal(trainedBase(['sdxl_base_v1-0'], 'illuminated.safetensors'), 'SDXL')
  t.equal(trainedBase(['flux-1-dev/lora', 'flux1'], ''), 'Flux.1 D')
  t.equal(trainedBase(['flux1', 'flux-1-schnell'], ''), 'Flux.1 S')
  t.equal(trainedBase(['sd_v1'], 'pony.safetensors'), 'SD 1.5')
  t.equal(trainedBase(['', 'mine'], ''), null)
  t.ok(isSameBase('sdxl_base_v1-0', 'SDXL 1.0'))
  t.ok(isSameBase('my OWN', 'My own'))
  t.notOk(isSameBase('SDXL', 'Illustrious'))
  t.notOk(isSameBase('mine', 'yours'))
})

t.test('names are found in every form of Unicode, with and without accents', async t => {
  t.equal(foldedText('Café ＡＢＣ'), 'cafe abc')
  t.equal(foldedText('Cafe\u0301'), 'cafe')
  t.equal(foldedText('が'), 'が', 'marks of other scripts stay')
  const lora = (name: string) => ({ name, alias: name, path: '' })
  const loras = [lora('Élan'), lora('水墨風'), lora('Naïve'), lora('naive')]
  for (const [wanted, name] of [['e\u0301lan', 'Élan'], ['elan', 'Élan'], ['水墨風', '水墨風'], ['naive', 'naive'], ['nai\u0308ve', 'Naïve']] as const) {
    t.equal(findLora(wanted, { loras: loras as never })?.name, name, wanted)
  }
  const checkpoint = { title: 'Bière/Élan.safetensors [0123456789]', modelName: 'Bière_Élan', hash: null, sha256: null, filename: '' }
  for (const wanted of ['bie\u0300re/e\u0301lan', 'Élan.safetensors', 'elan', 'biere\\elan.safetensors']) {
    t.equal(findCheckpoint(wanted, { checkpoints: [checkpoint] as never })?.title, checkpoint.title, wanted)
  }
})

t.test('a scan distinguishes models from files with their names, and filters know their base models', async t => {
  const page = '<!DOCTYPE html>\n<html><body>Please log in</body></html>'
  const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6938078334\n'
  const models = await folderWith(t, {
    'Stable-diffusion/real.safetensors': safetensors({ 'modelspec.architecture': 'stable-diffusion-xl-v1-base' }),
    'Stable-diffusion/real.vae.pt': Buffer.alloc(64, 7),
    'Stable-diffusion/other.vae.safetensors': safetensors({}, 9),
    'Stable-diffusion/empty.safetensors': '',
    'Stable-diffusion/pointer.safetensors': pointer,
    'Lora/login.safetensors': page,
    'Lora/qwen.safetensors': safetensors({ ss_base_model_version: 'qwen_image', 'modelspec.title': 'A <b>bold</b>\u202e name <lora:x:1>', 'modelspec.description': '<img src=x onerror=alert(1)>Good <b>one</b><script>alert(2)</script>', 'modelspec.tags': '<i>ink</i>, a & b' }, 2),
    'Lora/wan.safetensors': safetensors({ ss_base_model_version: 'wan21' }, 3),
    'Lora/Élan.safetensors': safetensors({ ss_base_model_version: 'sdxl_base_v1-0', ss_sd_model_name: 'ponyDiffusionV6XL.safetensors' }, 4)
  })
  const service = await startService(t, { settings: { MODELS_DIR: models } })
  const { stats, broken } = await scan(service)
  t.match(stats, { errors: 3 })
  const files = broken as Array<{ path: string, reason: string }>
  t.match(files.toSorted((one, other) => one.path < other.path ? -1 : 1), [
    { path: /login/, reason: /web page/ }, { path: /empty/, reason: /empty/ }, { path: /pointer/, reason: /Git LFS/ }
  ])
  const list = async (query: string) => {
    const { body } = await service.request('GET', `/api/v1/models?limit=100&${query === '' ? 'type=all' : query}`)
    return (body.models as Array<Record<string, unknown>>).filter(model => model.on_disk === true)
  }
  const names = async (query: string) => (await list(query)).map(({ filename }) => filename).sort()
  t.strictSame(await names(''), ['qwen.safetensors', 'real.safetensors', 'other.vae.safetensors', 'real.vae.pt', 'wan.safetensors', 'Élan.safetensors'].sort())
  t.strictSame(await names('type=vae'), ['other.vae.safetensors', 'real.vae.pt'])
  t.strictSame(await names('baseModel=Qwen'), ['qwen.safetensors'])
  t.strictSame(await names('baseModel=wan2.1'), ['wan.safetensors'])
  t.strictSame(await names('baseModel=SDXL%201.0'), ['real.safetensors'])
  t.strictSame(await names('baseModel=pony'), ['Élan.safetensors'])
  t.strictSame(await names('search=elan'), ['Élan.safetensors'])
  t.strictSame(await names(`search=${encodeURIComponent('E\u0301lan')}`), ['Élan.safetensors'])
  const [qwen] = await list('baseModel=qwen_image')
  t.match(qwen, { name: 'A bold name <lora:x:1>', base_model: 'Qwen', base_family: 'Qwen', tags: ['ink', 'a & b'] })
  t.equal(qwen?.description, 'Good <b>one</b>')
  t.match(await list('baseModel=Pony'), [{ base_family: 'SDXL' }])
})
