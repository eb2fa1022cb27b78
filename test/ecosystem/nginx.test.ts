import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { startService, type Service } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { freePort } from '../support/free-port.ts'
import { chromiumPath, imageLoaded } from '../web/browser.ts'
import { token, tryPrograms } from './through-proxy.ts'
import { tool } from './tool.ts'

const { path: nginx, skip } = tool('nginx')

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
    await t.test(`programs: ${name}`, async t => await tryPrograms(t, service, `${origin}/queue`))
    await t.test(`people: ${name}`, async t => await tryBrowser(t, origin))
  }
})

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
