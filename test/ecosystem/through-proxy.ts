import type { Test } from 'tap'
import { WebSocket } from 'undici'
import { listenTo } from '../events/listener.ts'
import { quick, type Service } from '../helper.ts'
import { startReceiver } from '../webhooks/receiver.ts'

/** AUTH_TOKEN of the services. */
export const token = 'token-of-the-operator'
const bearer = { authorization: `Bearer ${token}` }

/**
 * Uses everything that programs use, through a proxy.
 * @param root address of the service there, without a slash at its end
 */
export async function tryPrograms (t: Test, service: Service, root: string): Promise<void> {
  const { origin, pathname } = new URL(root)
  const prefix = pathname === '/' ? '' : pathname
  const receiver = await startReceiver(t, [service.services.webhooks.signingKeys.ownSecret])
  const send = async (path: string, init: RequestInit = {}) => await fetch(`${origin}${path}`, {
    ...init, headers: { ...bearer, 'content-type': 'application/json', ...init.headers }
  })
  const listener = await listenTo(`${root}/api/v1/events`, bearer)
  const accepted = await send(`${prefix}/api/v2/generate`, {
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
  const zip = await (await send(`${prefix}/api/v1/gallery/zips`, {
    method: 'POST', body: JSON.stringify({ filenames: [filename] })
  })).json() as { url: string }
  t.equal((await send(zip.url)).headers.get('content-type'), 'application/zip')

  const [delivered] = await receiver.until(1, ({ event }) => event.type === 'job.completed')
  const link = String(delivered?.event.data.result?.images[0]?.url)
  t.match(link, `${root}/outputs/`)
  t.equal((await fetch(link)).status, 200, 'the signed link of a webhook needs no credentials')

  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'A1111 client' })
  const basic = `Basic ${Buffer.from(`${accessKey.key}:${secret}`).toString('base64')}`
  const drawn = await send(`${prefix}/sdapi/v1/txt2img`, {
    method: 'POST', body: JSON.stringify(quick), headers: { authorization: basic }
  })
  const answered = await drawn.text()
  t.match(answered, /^\{"images":\["iVBOR/, answered.slice(0, 300))
  t.equal((await send(`${prefix}/internal/ping`)).status, 200)
  t.equal((await send(`${prefix}/queue`, { headers: { accept: 'application/json' } })).status, 200)

  const answer = await fetch(`${root}/api/v1/events/ticket`, { method: 'POST', headers: bearer })
  const { ticket } = await answer.json() as { ticket: string }
  const socket = new WebSocket(`${root.replace('http', 'ws')}/ws?ticket=${ticket}`)
  t.teardown(() => { socket.close() })
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => { reject(new Error('the socket does not open')) }
  })
  const said = new Promise<string>(resolve => { socket.onmessage = ({ data }) => { resolve(String(data)) } })
  socket.send(JSON.stringify({ type: 'subscribe', id: 'one', job_id: id }))
  t.match(await said, `"url":"${prefix}/outputs/${filename}"`)
  t.equal((await fetch(`${root}/redoc`, { redirect: 'manual' })).headers.get('location'), `${prefix}/docs`)
}
