#!/usr/bin/env node
/**
 * Submits a job, waits for its image, saves it and opens it: `npm run first-picture -- "a lighthouse at dusk"`.
 * Needs Node.js and a running StableQueue, at http://127.0.0.1:3000 unless STABLEQUEUE_URL says otherwise. From another
 * machine, set STABLEQUEUE_KEY and STABLEQUEUE_SECRET to an access key.
 */
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { extname, resolve } from 'node:path'

const { STABLEQUEUE_URL: url = 'http://127.0.0.1:3000', STABLEQUEUE_KEY: key, STABLEQUEUE_SECRET: secret } = process.env
const prompt = process.argv[2] ?? 'a lighthouse at dusk'
const credentials = key && secret ? { 'x-api-key': key, 'x-api-secret': secret } : {}

try {
  const { job_id: id, target_server_alias: server } = await call('/api/v2/generate', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ target_server_alias: 'default', generation_params: { prompt, steps: 20 } })
  })
  console.log(`Job ${id} is in the queue of ${server}.`)
  const { status, error, images } = await finished(id)
  if (status !== 'completed') throw new Error(`The job ${status}: ${error?.message ?? 'no reason was given'}`)
  const [{ filename, url: path }] = images
  const file = resolve(`first-picture${extname(filename)}`)
  await writeFile(file, Buffer.from(await (await request(path)).arrayBuffer()))
  console.log(`Saved ${file}${open(file) ? ' and opened it' : ''}.`)
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}

/** Each request waits for up to a minute; the service answers as soon as the job has finished. */
async function finished (id) {
  const { job } = await call(`/api/v2/jobs/${id}?wait=60`)
  return ['pending', 'processing'].includes(job.status) ? await finished(id) : job
}

async function call (path, options) {
  return await (await request(path, options)).json()
}

async function request (path, options = {}) {
  const headers = { ...credentials, ...options.headers }
  const response = await fetch(new URL(path, url), { ...options, headers }).catch(error => {
    throw new Error(`Nothing answers at ${url} (${error.cause?.code ?? error.message}). Start StableQueue with: npm start`)
  })
  if (!response.ok) {
    const { message } = await response.json().catch(() => ({}))
    throw new Error(message ?? `${path} answered ${response.status}.`)
  }
  return response
}

/** Opens the file with the desktop's viewer; returns whether there is one. */
function open (file) {
  const [program, ...parameters] = viewer(file)
  if (program === undefined) return false
  spawn(program, parameters, { detached: true, stdio: 'ignore' }).on('error', () => {}).unref()
  return true
}

function viewer (file) {
  const { platform, env } = process
  if (platform === 'darwin') return ['open', file]
  if (platform === 'win32') return ['explorer.exe', file]
  // WSL2 can run Windows programs. They accept a name relative to the current folder.
  if (env.WSL_DISTRO_NAME) return ['explorer.exe', file.split('/').at(-1)]
  return env.DISPLAY || env.WAYLAND_DISPLAY ? ['xdg-open', file] : []
}
