import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { copyMedia } from '../../src/main/media-copy.ts'
import { folderHome } from '../../src/media/home.ts'
import { startS3Server } from '../media/s3-server.ts'

const outputs = Array.from({ length: 20 }, (_, index) => `outputs/1f0c2a9e_2026-11-21T09-30-00-000Z_${index}.png`)
const input = `media/inputs/ab/ab${'0'.repeat(62)}.png`
const names = [...outputs, input]

t.test('all media are copied to a bucket and back, and an interrupted copy continues', async t => {
  const s3 = await startS3Server(t)
  const folder = t.testdir({ outputs: { '.drafts': { half: 'x' }, 'notes.txt': 'x' } })
  await mkdir(join(folder, 'media/inputs/ab'), { recursive: true })
  for (const name of names) await writeFile(join(folder, name), `content of ${name}`)
  const lines: string[] = []
  async function copy (to: 's3' | 'folder', more: { directory?: string, verify?: boolean, cancelled?: AbortSignal } = {}) {
    const config = parseSettings({ ...s3.settings, DATA_DIR: more.directory ?? folder })
    lines.length = 0
    return await copyMedia(config, {
      to,
      verify: more.verify ?? false,
      print: line => { lines.push(line) },
      cancelled: more.cancelled ?? new AbortController().signal
    })
  }

  const stored = () => names.filter(name => s3.objects.has(`some/prefix/${name}`)).length

  await t.test('a copy that fails in the middle says so, and leaves no mark', async t => {
    s3.fail({ when: (method, key) => method === 'PUT' && key.includes('_1'), answer: [403, 'AccessDenied'] })
    t.equal(await copy('s3'), 1)
    t.match(lines.join('\n'), /_1\.png: the access key has no right .*(?:\n.*)*not complete\. Run the command again/)
    t.notOk(s3.objects.has('some/prefix/data-id'))
    t.ok(stored() < names.length)
  })

  await t.test('the next one copies what is missing', async t => {
    s3.mend()
    const before = stored()
    t.equal(await copy('s3'), 0)
    t.match(lines.join('\n'), new RegExp(`^${names.length - before} files copied \\(.*\\), ${before} were there, 0 failed`, 'm'))
    t.equal(stored(), names.length)
    t.match(s3.objects.get(`some/prefix/${names[0]}`)?.headers, { 'content-type': 'image/png' })
    t.same([...s3.objects.keys()].filter(key => /drafts|notes|check/.test(key)), [])
  })

  await t.test('an object of the right size and other content is found on demand', async t => {
    const key = `some/prefix/${input}`
    const object = s3.objects.get(key)
    if (object !== undefined) s3.objects.set(key, { ...object, bytes: Buffer.alloc(object.bytes.length) })
    t.equal(await copy('s3'), 0)
    t.match(lines.join(), /0 files copied/)
    t.equal(await copy('s3', { verify: true }), 0)
    t.match(lines.join(), /1 files copied/)
  })

  await t.test('back into another folder, which is the successor then', async t => {
    const directory = join(t.testdir({}), 'back')
    t.equal(await copy('folder', { directory }), 0)
    for (const name of names) t.equal(await readFile(join(directory, name), 'utf8'), `content of ${name}`)
    t.same(await readdir(join(directory, 'outputs/.drafts')), [])
    const [first, bucket, last] = [
      await folderHome(folder).readMark(), s3.objects.get('some/prefix/data-id')?.bytes.toString().split('\n'),
      await folderHome(directory).readMark()
    ]
    t.equal(bucket?.[1], `after ${first?.id}`)
    t.same(last?.after, [bucket?.[0], first?.id])
    await rm(join(directory, input))
    t.equal(await copy('folder', { directory }), 0)
    t.match(lines.join(), /1 files copied/)
    t.same(await folderHome(directory).readMark(), last)
  })

  await t.test('media of two installations are not mixed, and a cancelled copy is not complete', async t => {
    const other = t.testdir({ 'data-id': 'another\n' })
    t.equal(await copy('s3', { directory: other }), 1)
    t.match(lines.join(), /media of another installation/)
    t.equal(await copy('s3', { cancelled: AbortSignal.abort() }), 1)
  })
})
