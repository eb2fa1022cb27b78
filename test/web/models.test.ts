import sharp from 'sharp'
import t from 'tap'
import { startService } from '../helper.ts'
import { startFakeCivitai } from '../models/fake-civitai.ts'
import { folderWith, safetensors, scan } from '../models/files.ts'
import { seriousFindings } from './axe.ts'
import { imageLoaded, openBrowser, skip } from './browser.ts'

/** Hostile text in models. */
const corpus = [
  '<script>window.hit=1</script>', '<img src=x onerror=window.hit=1>', '<svg onload=window.hit=1><animate onbegin=window.hit=1>',
  '<a href="javascript:window.hit=1">a</a>', '<a href=" jAvAsCrIpT&colon;window.hit=1">b</a>', '<a href="data:text/html,<script>1</script>">c</a>',
  '<iframe srcdoc="<script>parent.hit=1</script>"></iframe>', '<math><mtext><img src=x onerror=window.hit=1></mtext></math>',
  '"><img src=x onerror=window.hit=1>', '<style>*{background:url(javascript:1)}</style>', '<p onclick=window.hit=1 style="position:fixed">p</p>',
  '<form action="javascript:window.hit=1"><button>', '<template><img src=x onerror=window.hit=1></template>', '&lt;script&gt;window.hit=1&lt;/script&gt;',
  '<scr<script>ipt>window.hit=1</scr</script>ipt>', '<b><i></b></i><li>loose', '<a href="https://example.org/" onmouseover=window.hit=1>good</a>'
].join('\n')

t.test('people browse their models', { skip }, async t => {
  const visit = await openBrowser(t)
  const civitai = await startFakeCivitai(t)
  const preview = await sharp({ create: { width: 64, height: 80, channels: 3, background: '#508060' } }).png().toBuffer()
  const folder = await folderWith(t, {
    'Lora/film-grain.safetensors': safetensors({ ss_base_model_version: 'sdxl_base_v1-0' }, 1),
    'Lora/film-grain.preview.png': preview,
    'Lora/film-grain.json': { 'activation text': 'grainy, film', 'preferred weight': 0.7, description: '<p>Old <b>film</b>.</p>' },
    'Lora/second/again.safetensors': safetensors({ ss_base_model_version: 'sdxl_base_v1-0' }, 1),
    'Lora/hostile.safetensors': safetensors({ ss_output_name: corpus }, 2),
    'Lora/hostile.json': { description: corpus, 'activation text': corpus, notes: corpus, 'sd version': corpus.slice(0, 60) }
  })
  const { host } = new URL(civitai.url)
  const service = await startService(t, {
    settings: {
      MODELS_DIR: folder, CIVITAI_BASE_URL: civitai.url, CIVITAI_INTERVAL_SECONDS: '0.01', EGRESS_PROFILE: 'lan', EGRESS_ALLOW: host
    }
  })
  await scan(service)
  const open = async (hash: string, options = {}) => await visit(`${service.url}/#/${hash}`, options)

  t.test('models are found by type, words, base model and server', async t => {
    const { page, violations } = await open('models')
    const tiles = page.locator('.model-tile')
    t.ok(await imageLoaded(page, '.model-tile img'))
    await page.getByRole('button', { name: /^Checkpoints/ }).click()
    await tiles.filter({ hasText: 'dreamscape' }).waitFor()
    await tiles.filter({ hasText: 'film-grain' }).waitFor({ state: 'detached' })
    t.match(page.url(), /type=checkpoint/)
    await page.getByRole('button', { name: /^All/ }).click()
    await page.getByRole('searchbox', { name: 'Search models' }).fill('grainy')
    await page.getByText('1 model', { exact: true }).waitFor()
    await page.getByRole('searchbox', { name: 'Search models' }).fill('')
    await page.getByLabel('Server', { exact: true }).selectOption('Main')
    await tiles.filter({ hasText: 'hostile' }).waitFor({ state: 'detached' })
    t.strictSame(await seriousFindings(page), [])
    t.strictSame(violations, [])
  })

  t.test('a model shows all its details and links to Create', async t => {
    const { page, violations } = await open('models?search=film-grain')
    await page.locator('.model-tile a', { hasText: 'film-grain' }).first().click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('grainy', { exact: true }).waitFor()
    await dialog.locator('.rich-text strong', { hasText: 'film' }).waitFor()
    t.match(await dialog.textContent(), /[0-9a-f]{64}/)
    t.strictSame(await seriousFindings(page), [])
    const { sha256 } = await service.services.models.catalogue.require('film-grain.safetensors', 'lora')
    civitai.answers.set(`/model-versions/by-hash/${sha256?.toUpperCase()}`, {
      id: 7,
      modelId: 5,
      name: 'v3',
      baseModel: 'SDXL 1.0',
      trainedWords: ['sepia'],
      description: corpus,
      model: { name: 'Film Grain', type: 'LORA', nsfw: false },
      files: [],
      images: []
    })
    civitai.answers.set(`/model-versions/by-hash/${sha256}`, civitai.answers.get(`/model-versions/by-hash/${sha256?.toUpperCase()}`))
    await dialog.getByRole('button', { name: 'Ask Civitai' }).click()
    await dialog.getByText('v3').waitFor()
    t.equal(await dialog.getByRole('link', { name: 'At Civitai' }).getAttribute('href'), 'https://civitai.com/models/5?modelVersionId=7')
    t.match(await dialog.getByRole('link', { name: 'Use in Create' }).getAttribute('href'), /create\?prompt=%3Clora%3Afilm-grain%3A0\.7%3E/)
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    t.match(page.url(), /#\/models\?search=film-grain$/, 'the filters are as they were')
    t.strictSame(violations, [])
  })

  t.test('text of strangers stays text', async t => {
    const { page, violations } = await open('models?search=hostile')
    await page.locator('.model-tile a', { hasText: 'hostile' }).or(page.locator('.model-tile a')).first().click()
    await page.getByRole('dialog').locator('.rich-text').waitFor()
    t.equal(await page.evaluate('window.hit'), undefined)
    t.equal(await page.locator('img[src=x], [onload], [onerror], [onclick], [onmouseover], iframe, dialog script, dialog form').count(), 0)
    const links = await page.locator('.rich-text a').evaluateAll(found => found.map(link => link.getAttribute('href')))
    t.strictSame(links.filter(href => href !== 'https://example.org/'), [])
    t.strictSame(violations, [])
  })

  t.test('folders are scanned again, and equal files are deleted after a second confirmation', async t => {
    const { page, violations } = await open('models')
    await page.getByRole('button', { name: 'Scan' }).click()
    await page.getByText(/The scan is complete, just now/).waitFor()
    await page.getByRole('button', { name: 'Duplicates' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('second/again.safetensors').waitFor()
    t.strictSame(await seriousFindings(page), [])
    await dialog.getByRole('button', { name: 'Choose all' }).click()
    await dialog.getByRole('button', { name: 'Delete 1 copy' }).click()
    await dialog.getByText('1 file will be permanently deleted').waitFor()
    t.match((await service.request('GET', '/api/v1/models/duplicates')).body, { count: 1 }, 'not yet')
    await dialog.getByRole('button', { name: 'Delete them now' }).click()
    await dialog.getByText('No two files').waitFor()
    t.match((await service.request('GET', '/api/v1/models/duplicates')).body, { count: 0 })
    t.strictSame(violations, [])
  })

  t.test('a model is downloaded by its address; the error for a wrong one is at its field', async t => {
    const { origin } = new URL(civitai.url)
    const file = safetensors({}, 9)
    civitai.files.set('/files/new', file)
    civitai.answers.set('/model-versions/456', {
      id: 456,
      modelId: 5,
      name: 'v1',
      baseModel: 'SDXL 1.0',
      model: { name: 'Night Market', type: 'LORA' },
      files: [{ name: 'night-market.safetensors', primary: true, downloadUrl: `${origin}/files/new`, hashes: {} }]
    })
    const { page, violations } = await open('models')
    await page.getByRole('button', { name: 'Download', exact: true }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('textbox', { name: 'Address or id' }).fill('somewhere else')
    await dialog.getByRole('button', { name: 'Download' }).click()
    await dialog.locator('[name=source][aria-invalid=true]').waitFor()
    await dialog.getByRole('textbox', { name: 'Address or id' }).fill('https://civitai.com/models/5/night-market?modelVersionId=456')
    await dialog.getByRole('button', { name: 'Download' }).click()
    await page.getByRole('status').getByText('night-market.safetensors waits').waitFor()
    const row = page.locator('.plain-rows li', { hasText: 'night-market.safetensors' })
    await row.getByText('Done').waitFor()
    await page.locator('.model-tile', { hasText: 'Night Market' }).or(page.locator('.model-tile', { hasText: 'night-market' })).first().waitFor()
    t.strictSame(violations, [])
  })

  t.test('no page is wider than a phone', async t => {
    const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: 'dark' } as const
    const { page, violations } = await open('models', phone)
    await page.locator('.model-tile').first().waitFor()
    t.ok(await page.evaluate('document.documentElement.scrollWidth') as number <= 360)
    t.strictSame(await seriousFindings(page), [])
    await page.locator('.model-tile a').first().click()
    await page.getByRole('dialog').getByText('Known from').waitFor()
    t.ok(await page.evaluate('document.documentElement.scrollWidth') as number <= 360)
    t.strictSame(await seriousFindings(page), [])
    t.strictSame(violations, [])
  })

  t.test('details open in front of the list, which stays where it is', async t => {
    const { page, violations } = await open('models', { viewport: { width: 700, height: 300 } })
    await page.locator('.model-tile').first().waitFor()
    const link = page.locator('.model-tile a').last()
    await page.evaluate("document.querySelector('.model-grid').lastElementChild.isTheSame = true")
    // A click would scroll to it.
    await link.hover()
    const read = async () => await page.evaluate("[window.scrollY, document.querySelector('.model-grid').lastElementChild.isTheSame]")
    const before = await read() as [number, boolean]
    t.ok(before[0] > 0, 'it is scrolled')
    const dialog = page.getByRole('dialog')
    for (const leave of [
      async () => { await page.keyboard.press('Escape') }, async () => { await page.goBack() },
      async () => { await dialog.getByRole('button', { name: 'Close' }).click() }
    ]) {
      await link.click()
      await dialog.getByText('Known from').waitFor()
      await leave()
      await dialog.waitFor({ state: 'detached' })
      t.strictSame(await read(), before)
      t.match(page.url(), /#\/models$/)
    }
    t.strictSame(violations, [])
  })
})
