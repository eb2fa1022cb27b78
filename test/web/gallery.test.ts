import { readFile } from 'node:fs/promises'
import t from 'tap'
import { zipEntries } from '../api/zip-entries.ts'
import { quick, startService } from '../helper.ts'
import { seriousFindings } from './axe.ts'
import { imageLoaded, openBrowser, skip } from './browser.ts'

const hostile = '"><img src=x onerror=window.hit=1><svg onload=window.hit=1>'

t.test('people browse their images', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t)
  const ids: string[] = []
  const make = async (prompt: string, parameters = {}) => {
    const id = await service.submit({ ...quick, prompt, ...parameters })
    ids.push(id)
    await service.until(id, 'completed')
    return id
  }

  t.test('an empty gallery says how to fill it, and an image appears without a reload', async t => {
    const { page, violations } = await visit(`${service.url}/#/gallery`)
    await page.getByRole('link', { name: 'Create one' }).waitFor()
    await make('a red boat')
    t.ok(await imageLoaded(page, '.tile img'))
    await make(hostile)
    await make('a blue house', { n_iter: 2, checkpoint_name: 'anime-pastel' })
    await page.locator('.tile').nth(3).waitFor()
    t.equal(await page.evaluate('window.hit'), undefined)
    t.strictSame(await seriousFindings(page), [])
    t.strictSame(violations, [])
  })

  t.test('images are found, opened, browsed and deleted with the keyboard', async t => {
    const { page, violations } = await visit(`${service.url}/#/gallery`)
    await page.locator('.tile').nth(3).waitFor()
    await page.getByLabel('Search prompts').fill('house')
    await page.locator('.tile').nth(2).waitFor({ state: 'detached' })
    await page.getByLabel('Search prompts').fill('')
    await page.locator('.tile').nth(3).waitFor()
    await page.getByLabel('Checkpoint or LoRA').fill('anime')
    await page.locator('.tile').nth(2).waitFor({ state: 'detached' })
    t.match(page.url(), /model=anime/, 'a view can be kept as an address')
    await page.getByLabel('Checkpoint or LoRA').fill('')
    await page.locator('.tile').nth(3).waitFor()
    await page.getByLabel('Day').fill('2020-01-01')
    await page.getByText('No image matches these filters').waitFor()
    await page.getByLabel('Day').fill('')

    await page.locator('.tile-picture').first().focus()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('ArrowRight')
    await page.getByRole('link', { name: `Open: ${hostile}` }).and(page.locator(':focus')).waitFor()
    await page.keyboard.press('Enter')
    const viewer = page.getByRole('dialog', { name: 'Image' })
    await viewer.getByText(hostile).waitFor()
    await viewer.getByText('Euler a').waitFor()
    t.strictSame(await seriousFindings(page), [])
    await page.keyboard.press('ArrowRight')
    await viewer.getByText('a red boat').waitFor()
    await page.keyboard.press('ArrowLeft')
    await viewer.getByText(hostile).waitFor()
    t.equal(await page.evaluate('window.hit'), undefined)
    await page.keyboard.press('Delete')
    await page.getByRole('dialog', { name: 'Delete this image?' }).getByRole('button', { name: 'Delete' }).click()
    await viewer.getByText('a red boat').waitFor()
    t.match(await service.job(ids[1] ?? ''), { status: 'completed', images: [] })
    await page.keyboard.press('Escape')
    await viewer.waitFor({ state: 'detached' })
    t.equal(await page.locator('.tile').count(), 3)
    t.strictSame(violations, [])
  })

  t.test('people without the right to delete are not offered it, and people without images read why they see none', async t => {
    const { page, violations } = await visit('about:blank')
    const missing = new Set(['submit_jobs', 'change_all_jobs'])
    await page.route('**/ui/session', async route => {
      const answer = await route.fetch()
      const who = await answer.json() as { rights: Record<string, boolean> }
      for (const right of missing) who.rights[right] = false
      await route.fulfill({ response: answer, json: who })
    })
    await page.goto(`${service.url}/#/gallery`)
    await page.locator('.tile-picture').first().press('Delete')
    await page.locator('.tile-picture').first().click()
    const viewer = page.getByRole('dialog', { name: 'Image', exact: true })
    await viewer.getByRole('link', { name: 'Download' }).waitFor()
    t.equal(await viewer.getByRole('button', { name: 'Delete' }).count(), 0)
    await page.keyboard.press('Delete')
    t.equal(await page.getByRole('dialog').count(), 1, 'neither by a button nor by a key')

    missing.add('see_images')
    await page.goto(`${service.url}/#/queue`)
    await page.reload()
    await page.getByTitle('Your access key does not include images.').first().waitFor()
    await page.goto(`${service.url}/#/job/${ids[0]}`)
    await page.getByText('This job has 1 image, but your access key does not include images.').waitFor()
    t.strictSame(violations, [])
  })

  t.test('several are selected, downloaded as one zip and deleted', async t => {
    const { page, violations } = await visit(`${service.url}/#/gallery`)
    await page.locator('.tile').nth(2).waitFor()
    await page.locator('.tile-check input').nth(0).click()
    await page.locator('.tile-check input').nth(1).click({ modifiers: ['Shift'] })
    await page.getByText('2 images chosen').waitFor()
    const [download] = await Promise.all([
      page.waitForEvent('download'), page.getByRole('button', { name: 'Download zip' }).click()
    ])
    t.match(download.suggestedFilename(), /^stablequeue-.*-2\.zip$/)
    const names = [...zipEntries(await readFile(await download.path())).keys()]
    t.equal(names.filter(name => name.endsWith('.png')).length, 2)
    t.equal(names.filter(name => name.endsWith('.png.json')).length, 2)
    await page.getByRole('region', { name: 'Chosen images' }).getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.locator('.tile').nth(1).waitFor({ state: 'detached' })
    t.equal((await service.request('GET', '/api/v1/gallery/images')).body.total, 1)
    t.strictSame(violations, [])
  })

  t.test('ten thousand images scroll with a few hundred elements', async t => {
    const [icon = ''] = /ui\/icon-\w+\.svg/.exec(await (await fetch(service.url)).text()) ?? []
    const { page, violations } = await visit(`${service.url}/#/gallery`)
    await page.route('**/api/v1/gallery?*', async route => {
      const from = Number(new URL(route.request().url()).searchParams.get('cursor') ?? 0)
      const images = Array.from({ length: 500 }, (_, offset) => ({
        filename: `image-${from + offset}.png`,
        url: icon,
        thumbnail_url: icon,
        width: 512,
        height: 512,
        bytes: 1,
        job_id: String(from + offset),
        prompt: `image ${from + offset}`,
        checkpoint: null,
        seed: null,
        server: 'Main',
        accepted_at: new Date(Date.UTC(2026, 0, 1) - (from + offset) * 600_000).toISOString(),
        created_at: new Date(0).toISOString()
      }))
      const next = from + images.length
      const cursor = next < 10_000 ? String(next) : null
      await route.fulfill({ json: { success: true, count: images.length, images, next_cursor: cursor } })
    })
    await page.reload()
    await page.locator('.tile').first().waitFor()
    for (let count = 500; count <= 10_000; count += 500) {
      const label = count < 10_000 ? `${count.toLocaleString('en')} images and more` : '10,000 images'
      await page.locator('main [role=status]', { hasText: new RegExp(`^${label}$`) }).waitFor({ state: 'attached' })
      await page.evaluate('window.scrollTo(0, document.documentElement.scrollHeight)')
    }
    await page.getByRole('link', { name: 'Open: image 9999', exact: true }).waitFor()
    t.ok(await page.locator('.tile').count() < 250, 'what is out of sight is no element')
    await page.getByRole('link', { name: 'Open: image 9999', exact: true }).focus()
    await page.keyboard.press('Home')
    await page.getByRole('link', { name: 'Open: image 0', exact: true }).waitFor()
    await page.keyboard.press('End')
    await page.getByRole('link', { name: 'Open: image 9999', exact: true }).waitFor()
    t.strictSame(violations, [])
  })

  t.test('a swipe shows the next image, and images that others delete disappear', async t => {
    await make('a first view', { n_iter: 2 })
    const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: 'dark' } as const
    const { page, violations } = await visit(`${service.url}/#/gallery`, phone)
    await page.locator('.tile').nth(2).waitFor()
    t.ok(await page.evaluate('document.documentElement.scrollWidth') as number <= 360)
    t.strictSame(await seriousFindings(page), [])
    const shown = async () => await page.locator('.lightbox-stage img').getAttribute('src') ?? ''
    const swipe = async (from: [number, number], to: [number, number]) => {
      const point = ([x, y]: [number, number]) => `[new Touch({ identifier: 1, target: stage, clientX: ${x}, clientY: ${y} })]`
      await page.evaluate(`{
        const stage = document.querySelector('.lightbox-stage')
        stage.dispatchEvent(new TouchEvent('touchstart', { bubbles: true, touches: ${point(from)}, changedTouches: ${point(from)} }))
        stage.dispatchEvent(new TouchEvent('touchend', { bubbles: true, touches: [], changedTouches: ${point(to)} }))
      }`)
    }
    await page.locator('.tile-picture').first().tap()
    await page.getByRole('dialog', { name: 'Image' }).waitFor()
    t.strictSame(await seriousFindings(page), [])
    const first = await shown()
    await swipe([200, 200], [190, 320])
    await swipe([200, 200], [180, 200])
    t.equal(await shown(), first, 'neither scrolling nor a tap that trembles is a swipe')
    await swipe([300, 200], [100, 210])
    await page.locator(`.lightbox-stage img:not([src="${first}"])`).waitFor()
    const second = await shown()
    await swipe([100, 200], [300, 190])
    await page.locator(`.lightbox-stage img[src="${first}"]`).waitFor()
    await page.getByRole('button', { name: 'Close' }).click()

    await service.request('DELETE', `/api/v1/gallery/images/${second.split('/').at(-1)}`)
    await page.locator('.tile').nth(2).waitFor({ state: 'detached' })
    t.strictSame(violations, [])
  })
})
