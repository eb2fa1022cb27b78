import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { imageLoaded, openBrowser, skip } from './browser.ts'

t.test('the Create page', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t)
  const jobs = async () => (await service.request('GET', '/api/v2/jobs')).body.jobs as Array<{
    id: string, generation_params: Record<string, unknown>
  }>

  t.test('a job is submitted, watched and submitted again', async t => {
    const { page, violations } = await visit(`${service.url}/#/create`)
    const prompt = page.getByLabel('Prompt', { exact: true })
    await prompt.fill('a harbour in the morning')
    await page.getByLabel('Negative prompt').fill('blurry')
    await page.getByLabel('Checkpoint').selectOption({ label: 'anime-pastel.safetensors' })
    await page.getByLabel('VAE').selectOption({ label: 'Automatic' })
    await page.getByLabel('Clip skip').fill('2')
    await page.getByLabel('Width').fill('64')
    await page.getByLabel('Height').fill('64')
    await page.getByLabel('Steps').fill('999')
    await page.getByRole('button', { name: 'Submit job' }).click()
    await page.locator('#app input[name=steps][aria-invalid=true]').waitFor()
    t.match(await page.locator('.field', { hasText: 'Steps' }).locator('.problem').textContent(), /150/,
      'what is wrong stands at the field it is about')
    await page.locator('#app input[name=steps]:focus').waitFor()
    t.equal((await jobs()).length, 0)

    await page.getByLabel('Steps').fill('3')
    await page.getByLabel('Batch count', { exact: true }).fill('2')
    await page.getByRole('button', { name: 'Submit job' }).click()
    t.ok(await imageLoaded(page, '.result .images li:nth-child(2) img'))
    t.match((await jobs())[0]?.generation_params, {
      prompt: 'a harbour in the morning',
      negative_prompt: 'blurry',
      steps: 3,
      width: 64,
      height: 64,
      n_iter: 2,
      checkpoint_name: /^anime-pastel/,
      override_settings: { CLIP_stop_at_last_layers: 2 }
    })

    await page.getByRole('link', { name: 'Details' }).click()
    await page.getByRole('heading', { name: 'a harbour in the morning' }).waitFor()
    await page.getByRole('link', { name: 'Submit again with changes' }).click()
    await page.getByRole('heading', { name: 'Create' }).waitFor()
    await page.waitForURL(/#\/create$/)
    t.equal(await prompt.inputValue(), 'a harbour in the morning')
    t.equal(await page.getByLabel('Batch count', { exact: true }).inputValue(), '2')

    const image = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#7090c0' } }).png().toBuffer()
    const file = { name: 'start.png', mimeType: 'image/png', buffer: image }
    await page.getByRole('button', { name: 'Image to image' }).click()
    await page.locator('.drop').first().waitFor()
    await page.evaluate(`{
      const data = new DataTransfer()
      data.items.add(new File([Uint8Array.from(atob('${image.toString('base64')}'), sign => sign.charCodeAt(0))], 'a.png', { type: 'image/png' }))
      document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: data }))
    }`)
    await page.locator('input[name=mask]').setInputFiles(file)
    t.ok(await imageLoaded(page, '.drop img'))
    await page.getByLabel('Masked content').selectOption('Fill')
    await prompt.fill('the same at night')
    await page.keyboard.press('Control+Enter')
    await page.locator('.results > li').nth(1).waitFor()
    t.ok(await imageLoaded(page, '.results > li:first-child .images img'))
    t.match((await jobs())[0]?.generation_params,
      { inpainting_fill: 0, denoising_strength: 0.6, init_images: [{}], mask: {} })

    await page.getByRole('link', { name: 'Show image 1 large' }).first().click()
    await page.keyboard.press('ArrowRight')
    await page.getByRole('heading', { name: '2 of 2' }).waitFor()
    await page.getByRole('link', { name: 'Start from it' }).click()
    await page.locator('.drop img').first().waitFor()
    t.strictSame(violations, [])
  })

  t.test('a job is submitted again with its images and with parameters for which the form has no inputs', async t => {
    const paint = async (background: string) =>
      (await sharp({ create: { width: 64, height: 64, channels: 3, background } }).png().toBuffer()).toString('base64')
    const [start, white, control] = [await paint('#7090c0'), await paint('#ffffff'), await paint('#204060')]
    const first = await service.until(await service.submit({
      ...quick,
      prompt: 'a first draft',
      init_images: [start],
      mask: white,
      mask_blur: 9,
      vae: 'Automatic',
      clip_skip: 2,
      tiling: true,
      alwayson_scripts: { ControlNet: { args: [{ image: control, module: 'canny', model: 'control_v11p_sd15_canny [d14c016b]' }] } }
    }), 'completed')
    const { page, violations } = await visit(`${service.url}/#/job/${first.id}`)
    await page.getByRole('list', { name: 'Made from' }).getByRole('listitem').nth(2).waitFor()
    t.ok(await imageLoaded(page, '.job-inputs img'))
    await page.getByRole('link', { name: 'Submit again with changes' }).click()
    t.ok(await imageLoaded(page, '.drop img'))
    t.equal(await page.getByLabel('VAE').inputValue(), 'Automatic')
    t.equal(await page.getByLabel('Clip skip').inputValue(), '2')
    await page.getByRole('region', { name: 'Further parameters' }).getByText('tiling, controlnet').waitFor()

    await page.getByRole('link', { name: 'Gallery' }).first().click()
    await page.getByRole('heading', { name: 'Gallery' }).waitFor()
    await page.goBack()
    t.ok(await imageLoaded(page, '.drop img'), 'a look at another page takes no image away')
    await page.getByLabel('Prompt', { exact: true }).fill('a second draft')
    await page.getByRole('button', { name: 'Submit job' }).click()
    t.ok(await imageLoaded(page, '.result .images img'))
    const [second] = await jobs()
    const made = (parameters: object) =>
      Object.fromEntries(Object.entries(parameters).filter(([name]) => !['prompt', 'positive_prompt', 'seed'].includes(name)))
    const unsaid = { mode: 'img2img', denoising_strength: 0.75, resize_mode: 0, inpainting_fill: 0, inpaint_full_res: true }
    t.strictSame(made(second?.generation_params ?? {}), made({ ...first.generation_params as object, ...unsaid }),
      'what the first did not say is what A1111 takes then')

    await page.getByRole('button', { name: 'Leave these out' }).click()
    await page.getByRole('button', { name: 'Submit job' }).click()
    await page.locator('.results > li').nth(1).waitFor()
    await page.locator('.results > li:first-child .job-status', { hasText: 'Done' }).waitFor()
    const [third] = await jobs()
    t.notOk('tiling' in (third?.generation_params ?? {}))
    t.strictSame(violations, [])
  })

  t.test('LoRAs come from the catalogue and get their weights with sliders', async t => {
    const { page, violations } = await visit(`${service.url}/#/create`)
    const prompt = page.getByLabel('Prompt', { exact: true })
    await prompt.fill('a boat')
    await page.getByRole('button', { name: 'Add a LoRA' }).click()
    const card = page.locator('.model-card').first()
    await card.waitFor()
    const name = await card.locator('.model-name').textContent() ?? ''
    await card.click()
    const slider = page.getByRole('slider', { name: `Weight of ${name}` })
    await slider.fill('0.5')
    t.match(await prompt.inputValue(), `<lora:${name}:0.5>`)
    await prompt.fill(`a boat <lora:${name.slice(0, -1)}:0.5>`)
    await page.getByRole('button', { name: 'Submit job' }).click()
    await page.getByRole('group', { name: 'Suggestions' }).getByRole('button', { name }).click()
    t.match(await prompt.inputValue(), `<lora:${name}:0.5>`, 'the nearest name takes the place of the wrong one')
    await page.getByRole('button', { name: `Remove ${name}` }).click()
    t.equal(await prompt.inputValue(), 'a boat')

    await page.getByRole('button', { name: 'Browse checkpoints' }).click()
    await page.getByRole('searchbox', { name: 'Search models' }).fill('jugger')
    await page.locator('.model-card', { hasText: 'juggernaut' }).click()
    t.match(await page.getByLabel('Checkpoint', { exact: true }).inputValue(), /juggernaut/)
    t.strictSame(violations, [])
  })

  t.test('values are combined, each with each, with one seed', async t => {
    const { page, violations } = await visit(`${service.url}/#/create`)
    await page.getByLabel('Prompt', { exact: true }).fill('a red house')
    await page.getByLabel('Width').fill('64')
    await page.getByLabel('Height').fill('64')
    await page.getByRole('button', { name: 'Vary a parameter' }).click()
    await page.getByLabel('Values', { exact: true }).fill('2-4:2')
    await page.getByRole('button', { name: 'Vary another' }).click()
    await page.getByLabel('Vary', { exact: true }).last().selectOption({ label: 'Word in the prompt' })
    await page.getByLabel('Values', { exact: true }).last().fill('red, green')
    await page.getByText('Makes 4 jobs').waitFor()
    const before = (await jobs()).length
    await page.getByRole('button', { name: 'Submit 4 jobs' }).click()
    await page.locator('.results > li:nth-child(4) img').waitFor()
    const made = (await jobs()).slice(0, -before || undefined).map(job => job.generation_params)
    t.strictSame(made.map(({ steps, prompt }) => [steps, prompt]).toReversed(),
      [[2, 'a red house'], [2, 'a green house'], [4, 'a red house'], [4, 'a green house']])
    t.equal(new Set(made.map(({ seed }) => seed)).size, 1)
    await page.getByRole('heading', { name: 'Steps 4, green' }).waitFor()
    t.strictSame(violations, [])
  })

  t.test('an image that is chosen, dropped or pasted, or a text, fills in the form', async t => {
    const job = await service.until(await service.submit({ prompt: 'a mill', steps: 5, width: 64, height: 128, seed: 4711 }), 'completed')
    const image = await readFile(join(service.dataDirectory, 'outputs', job.images[0]?.filename ?? ''))
    const { page, violations } = await visit(`${service.url}/#/create`)
    const value = async (label: string) => await page.getByLabel(label, { exact: true }).inputValue()
    await page.locator('.take input').setInputFiles({ name: 'mill.png', mimeType: 'image/png', buffer: image })
    await page.getByText('Parameters loaded').waitFor()
    t.strictSame([await value('Prompt'), await value('Steps'), await value('Height'), await value('Seed')], ['a mill', '5', '128', '4711'])

    await page.getByRole('button', { name: 'Start over' }).click()
    await page.evaluate(`{
      const data = new DataTransfer()
      data.items.add(new File([Uint8Array.from(atob('${image.toString('base64')}'), sign => sign.charCodeAt(0))], 'a.png', { type: 'image/png' }))
      const options = { bubbles: true, cancelable: true }
      document.querySelector('main').dispatchEvent(new DragEvent('drop', { ...options, dataTransfer: data }))
    }`)
    while (await value('Seed') !== '4711') await page.waitForTimeout(20)

    await page.evaluate(`{
      const data = new DataTransfer()
      data.setData('text/plain', 'a bridge\\nNegative prompt: fog\\nSteps: 7, Sampler: Euler, CFG scale: 5, Seed: 3, Size: 64x64')
      document.querySelector('textarea').dispatchEvent(new ClipboardEvent('paste', { bubbles: true, cancelable: true, clipboardData: data }))
    }`)
    while (await value('Prompt') !== 'a bridge') await page.waitForTimeout(20)
    t.strictSame([await value('Negative prompt'), await value('Steps'), await value('Sampler')], ['fog', '7', 'Euler'])

    const blank = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#000' } }).png().toBuffer()
    await page.locator('.take input').setInputFiles({ name: 'blank.png', mimeType: 'image/png', buffer: blank })
    await page.getByRole('alert').getByText('No generation parameters found').waitFor()
    t.strictSame(violations, [])
  })
})
