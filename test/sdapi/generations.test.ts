import t from 'tap'
import { startService, quick } from '../helper.ts'

t.test('txt2img answers as A1111 does, with the id of the job in a header', async t => {
  const service = await startService(t)
  const { status, headers, body } = await service.request('POST', '/sdapi/v1/txt2img', quick)
  t.equal(status, 200, JSON.stringify(body).slice(0, 500))
  t.match(headers.get('x-job-id'), /^[A-Za-z0-9]{8}$/)
  t.strictSame(Object.keys(body), ['images', 'parameters', 'info'])
})
