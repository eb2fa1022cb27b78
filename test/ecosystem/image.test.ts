import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { inRepository } from '../root.ts'
import { freePort } from '../support/free-port.ts'
import { tool } from './tool.ts'

const buildah = tool('buildah')
/** A folder with Debian and Node.js, in place of node:24-slim. */
const base = tool('nodeRoot')
const skip = [buildah.skip, base.skip].find(reason => reason !== false) ?? false
const isRoot = process.getuid?.() === 0

/** Runs buildah on a store of its own; returns what it prints. @throws Error with all its output */
async function run (
  folder: string, parameters: readonly string[], log: (text: string) => void = () => {}
): Promise<string> {
  const child = spawn(buildah.path, ['--root', join(folder, 'store'), '--runroot', join(folder, 'run'), ...parameters], {
    cwd: inRepository('.'), env: { ...process.env, STORAGE_DRIVER: 'vfs', BUILDAH_ISOLATION: 'chroot' }
  })
  let output = ''
  let all = ''
  child.stdout.setEncoding('utf8').on('data', text => { output += text; all += text; log(all) })
  child.stderr.setEncoding('utf8').on('data', text => { all += text; log(all) })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`buildah ${parameters[0]} ended with ${code}\n${all.slice(-4000)}`)
  return output.trim()
}

t.test('the image is built, and does the main job with the compiled code that it contains', {
  skip: skip === false && !isRoot ? 'buildah needs root here' : skip
}, async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sq-image-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const made = await run(folder, ['from', 'scratch'])
  await run(folder, ['add', '--quiet', made, base.path, '/'])
  await run(folder, ['config', '--env', 'NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt',
    '--env', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', made])
  await run(folder, ['commit', '--quiet', '--rm', made, 'docker.io/library/node:24-slim'])
  await run(folder, ['bud', '--pull-never', '--tag', 'stablequeue', '--file', 'Dockerfile', '.'])
  t.match(await run(folder, ['inspect', '--type', 'image', 'stablequeue']), /"User": "node"/)

  const container = await run(folder, ['from', '--pull-never', 'stablequeue'])
  const caches = async () => await run(folder, ['run', container, 'sh', '-c', 'ls -l --time-style=full-iso dist/bundle/cli.cjs.cache'])
  const before = await caches()
  t.match(before, / start-[0-9a-f]+-/)

  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  let printed = ''
  const service = run(folder, ['run', '--env', `PORT=${port}`, '--env', 'HOST=127.0.0.1', container,
    'timeout', '--preserve-status', '60', 'node', 'src/launch.mjs', 'start'], all => { printed = all })
  service.catch(() => {})
  while (await fetch(`${url}/ready`).then(({ ok }) => !ok, () => true)) {
    if (await Promise.race([service.then(() => true, () => true), sleep(100)])) throw new Error(printed)
  }
  const { id } = await (await fetch(`${url}/api/v2/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ target_server_alias: 'default', generation_params: { prompt: 'a boat', steps: 2, width: 64, height: 64 } })
  })).json() as { id: string }
  const { job } = await (await fetch(`${url}/api/v2/jobs/${id}?wait=30`)).json() as { job: { status: string, images: Array<{ url: string }> } }
  t.equal(job.status, 'completed')
  t.equal((await fetch(url + String(job.images[0]?.url))).headers.get('content-type'), 'image/png')
  await service
  t.equal(await caches(), before, 'the stored code fits, so no start compiles again')
})
