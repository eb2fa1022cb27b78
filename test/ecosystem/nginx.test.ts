import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { WebSocket } from 'undici'
import { listenTo } from '../events/listener.ts'
import { quick, startService, type Service } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { freePort } from '../support/free-port.ts'
import { chromiumPath, imageLoaded } from '../web/browser.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { tool } from './tool.ts'

const { path: nginx, skip } = tool('nginx')
const token = 'token-of-the-operator'
const bearer = { authorization: `Bearer ${token}` }

interface Front {
  readonly port: number
  readonly target: string
  /** The lines of the location that differ. */
  readonly lines: (target: string) => string
}

/** nginx with one server for each front, configured as docs/reverse-proxy.md shows. */
async function startNginx (fronts: readonly Front[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sq-nginx-'))
  const servers = fronts.map(({ port, target, lines }) => `
    server {
      listen 127.0.0.1:${port};
      client_max_body_size 128m;
      location = /queue { return 301 /queue/; }
      location /queue/ {
        ${lines(target)}
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_read_timeout 1h;
      }
    }`)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${folder}/${name};`)
  await writeFile(join(folder, 'nginx.conf'), `
    daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr warn; events {}
    http { access_log off; absolute_redirect off; ${temporary.join(' ')}
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    ${servers.join('')} }`)
  const child = spawn(nginx, ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: ['ignore', 'inherit', 'inherit'] })
  t.teardown(async () => {
    child.kill('SIGQUIT')
    await once(child, 'exit')
    await rm(folder, { recursive: true, force: true })
  })
  for (const { port } of fronts) {
    while (await fetch(`http://127.0.0.1:${port}/queue/health`).then(({ ok }) => !ok, () => true)) {
      await new Promise(resolve => { setTimeout(resolve, 20) })
    }
  }
}

const redis = await startTestRedis()
t.teardown(redis.stop)
const start = async (name: string, settings: Record<string, string>) => await startService(t, {
  redis, settings: { AUTH_TOKEN: token, REDIS_PREFIX: name, EGRESS_PROFILE: 'lan', TRUSTED_PROXIES: '127.0.0.1', ...settings }
})

t.test('behind nginx, everything works below a path', { skip }, async t => {
  const [kept, stripped, announced] = [await freePort(), await freePort(), await freePort()]
  const withUrl = await start('url', { PUBLIC_URL: `http://127.0.0.1:${kept}/queue` })
  const withoutSlash = await start('bare', { PUBLIC_URL: `http://127.0.0.1:${stripped}/queue` })
  const withHeader = await start('header', {})
  await startNginx([
    { port: kept, target: withUrl.url, lines: target => `proxy_pass ${target};` },
    { port: stripped, target: withoutSlash.url, lines: target => `proxy_pass ${target}/;` },
    {
      port: announced,
      target: withHeader.url,
      lines: target => `proxy_pass ${target}/; proxy_set_header X-Forwarded-Prefix /queue;`
    }
  ])
  const ways: Array<[name: string, service: Service, port: number]> = [
    ['nginx keeps the path of PUBLIC_URL', withUrl, kept],
    ['nginx strips the path of PUBLIC_URL', withoutSlash, stripped],
    ['nginx strips the path and names it', withHeader, announced]
  ]
  for (const [name, service, port] of ways) {
    const origin = `http://127.0.0.1:${port}`
    await t.test(`programs: ${name}`, async t => await tryPrograms(t, service, origin))
    await t.test(`people: ${name}`, async t => await tryBrowser(t, origin))
  }
})

async function tryPrograms (t: Test, service: Service, origin: string): Promise<void> {
  const receiver = await startReceiver(t, [service.services.webhooks.signingKeys.ownSecret])
  const send = async (path: string, init: RequestInit = {}) => await fetch(`${origin}${path}`, {
    ...init, headers: { ...bearer, 'content-type': 'application/json', ...init.headers }
  })
  const listener = await listenTo(`${origin}/queue/api/v1/events`, bearer)
  const accepted = await send('/queue/api/v2/generate', {
    method: 'POST',
    body: JSON.stringify({ target_server_alias: 'default', generation_params: quick, webhookUrl: receiver.url })
  })
  t.equal(accepted.status, 202)
  const { links, id } = await accepted.json() as { links: { self: string }, id: string }
  t.equal(accepted.headers.get('location'), links.self)
  const image = await listener.until(({ kind, job_id: of }) => kind === 'image' && of === id)
  t.equal((await send(String(image.data.url))).headers.get('content-type'), 'image/png')
  listener.close()

  const { job } = await (await send(`${links.self}?wait=20`)).json() as { job: { status: string, images: Array<Record<string, string>> } }
  t.equal(job.status, 'completed')
  const [{ url = '', thumbnail_url: thumbnail = '', filename = '' } = {}] = job.images
  t.equal((await send(url, { headers: { range: 'bytes=0-7' } })).status, 206)
  t.equal((await send(thumbnail)).status, 200)
  const zip = await (await send('/queue/api/v1/gallery/zips', {
    method: 'POST', body: JSON.stringify({ filenames: [filename] })
  })).json() as { url: string }
  t.equal((await send(zip.url)).headers.get('content-type'), 'application/zip')

  const [delivered] = await receiver.until(1, ({ event }) => event.type === 'job.completed')
  const link = String(delivered?.event.data.result?.images[0]?.url)
  t.match(link, `${origin}/queue/outputs/`)
  t.equal((await fetch(link)).status, 200, 'the signed link of a webhook needs no credentials')

  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'A1111 client' })
  const basic = `Basic ${Buffer.from(`${accessKey.key}:${secret}`).toString('base64')}`
  const drawn = await send('/queue/sdapi/v1/txt2img', {
    method: 'POST', body: JSON.stringify(quick), headers: { authorization: basic }
  })
  const answered = await drawn.text()
  t.match(answered, /^\{"images":\["iVBOR/, answered.slice(0, 300))
  t.equal((await send('/queue/internal/ping')).status, 200)
  t.equal((await send('/queue/queue', { headers: { accept: 'application/json' } })).status, 200)

  const answer = await fetch(`${origin}/queue/api/v1/events/ticket`, { method: 'POST', headers: bearer })
  const { ticket } = await answer.json() as { ticket: string }
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/queue/ws?ticket=${ticket}`)
  t.teardown(() => { socket.close() })
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => { reject(new Error('the socket does not open')) }
  })
  const said = new Promise<string>(resolve => { socket.onmessage = ({ data }) => { resolve(String(data)) } })
  socket.send(JSON.stringify({ type: 'subscribe', id: 'one', job_id: id }))
  t.match(await said, `"url":"/queue/outputs/${filename}"`)
  t.equal((await fetch(`${origin}/queue/redoc`, { redirect: 'manual' })).headers.get('location'), '/queue/docs')
}

async function tryBrowser (t: Test, origin: string): Promise<void> {
  const browser = await chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync']
  })
  t.teardown(() => browser.close())
  const page = await browser.newPage({ reducedMotion: 'reduce' })
  page.setDefaultTimeout(60_000)
  const problems: string[] = []
  page.on('pageerror', error => problems.push(error.message))
  page.on('response', response => {
    if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`)
    if (!response.url().startsWith(`${origin}/queue`)) problems.push(`outside of the prefix: ${response.url()}`)
  })
  page.on('requestfailed', request => {
    const reason = request.failure()?.errorText
    // Pages abort their own requests when they need newer data.
    if (reason !== 'net::ERR_ABORTED') problems.push(`${request.url()}: ${reason}`)
  })
  await page.goto(`${origin}/queue`)
  await page.getByLabel('Admin token').fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('built-in simulator').waitFor()
  t.strictSame(problems.filter(problem => !problem.startsWith('401 ')), [], 'signing in')
  problems.length = 0
  const cookies = await page.context().cookies(`${origin}/queue/`)
  t.strictSame(cookies.map(({ path }) => path), ['/queue'])

  await page.goto(`${origin}/queue/#/create`)
  await page.getByLabel('Prompt', { exact: true }).fill('a lighthouse')
  await page.getByRole('button', { name: 'Submit job' }).click()
  t.ok(await imageLoaded(page, 'main .images img'))
  await page.goto(`${origin}/queue/#/gallery`)
  t.ok(await imageLoaded(page, 'main img'))
  await page.getByRole('link', { name: 'API docs' }).first().click()
  await page.getByRole('heading', { name: /^StableQueue/ }).waitFor()
  await page.locator('.opblock-summary-control').first().waitFor()
  await page.goto(`${origin}/queue/dashboard`)
  await page.getByText('Main').first().waitFor()
  t.strictSame(problems, [], 'no request fails or leaves the prefix')
}
