import { request as httpRequest } from 'node:http'
import t from 'tap'
import sharp from 'sharp'
import { startFleet } from './processes.ts'

const mebibyte = 1_048_576
/** As many bodies, and as large relative to the heap, as those of 62 MiB that crashed a process of 1 GiB. */
const bodies = 24
const heapMebibytes = 160
const bodyBytes = 9.5 * mebibyte

interface Answer { readonly status: number, readonly retryAfter: string | undefined, readonly code: unknown }

const png = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#36a' } }).png().toBuffer()

t.test('parallel bodies larger than the memory end no process: some are rejected, and everything else continues', async t => {
  const fleet = await startFleet(t)
  const api = await fleet.api({
    NODE_OPTIONS: `--max-old-space-size=${heapMebibytes}`, BODY_LIMIT_MIB: '10', IMAGE_MAX_MIB: '10'
  })
  await fleet.workerHere()
  const kinds: Readonly<Record<string, (letters: number) => { path: string, body: string }>> = {
    'letters in a prompt': letters => ({
      path: '/api/v2/generate', body: JSON.stringify({ target_server_alias: 'default', generation_params: { prompt: 'a'.repeat(letters / 2) } })
    }),
    'letters of two bytes in a prompt': letters => ({
      path: '/generate/txt2img', body: JSON.stringify({ prompt: '猫' + 'a'.repeat(letters / 2) })
    }),
    'a start image': letters => ({
      path: '/sdapi/v1/img2img', body: JSON.stringify({ init_images: [png.toString('base64').slice(0, 80) + 'A'.repeat(letters)] })
    }),
    'a picture to be read': letters => ({
      path: '/sdapi/v1/png-info', body: JSON.stringify({ image: 'A'.repeat(letters / 2) })
    })
  }
  for (const [what, make] of Object.entries(kinds)) {
    const { path, body } = make(bodyBytes)
    const answers = await Promise.all(Array.from({ length: bodies }, async () => await post(api.url + path, body)))
    const statuses = answers.map(({ status }) => status)
    t.ok(statuses.every(status => [202, 400, 413, 422, 429, 500, 503].includes(status)), `${what}: ${statuses.join(' ')}`)
    for (const { status, retryAfter } of answers) if (status === 429) t.match(retryAfter, /^\d+$/, 'says when to come again')
    t.match(await api.request('GET', '/health'), { status: 200 }, `the process lives after ${what}`)
  }
  const id = await api.submit({ prompt: 'a lighthouse', steps: 1, width: 64, height: 64 })
  t.match(await api.until(id, 'completed', 'failed'), { status: 'completed' }, 'and works')
})

/** Not fetch, which can lose an answer that arrives before the body is sent. */
async function post (url: string, body: string): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const request = httpRequest(url, {
      method: 'POST', agent: false, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    }, response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => { text += chunk })
      response.on('end', () => {
        const json = JSON.parse(text) as Record<string, unknown>
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], code: json.error })
      })
      response.on('error', reject)
    })
    let answered = false
    request.on('response', () => { answered = true })
    request.on('error', error => { if (!answered) reject(error) })
    request.end(body)
  })
}
