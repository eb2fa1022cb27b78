import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rmdir, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import sharp from 'sharp'
import t from 'tap'
import { createFolderFiles } from '../../src/media/files.ts'
import { bufferSource } from '../../src/media/image-header.ts'
import { createMediaStore, type MediaStore } from '../../src/media/store.ts'

const run = promisify(execFile)
const image = (background: string) =>
  sharp({ create: { width: 32, height: 16, channels: 3, background } })
const red = await image('red').png().toBuffer()
const blue = await image('blue').jpeg().toBuffer()
const green = await image('green').webp().toBuffer()
const timestamp = Date.UTC(2026, 10, 21, 9, 30)
const jobId = '1f0c2a9e-4b77-4d0e-9a53-2f5d1d3c7a10'
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Every file below a folder. */
async function filesIn (folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => entry.name)
}

async function storeOutput (store: MediaStore, bytes: Buffer, index = 0) {
  const sink = await store.createOutputSink(jobId, index, timestamp)
  for (let start = 0; start < bytes.length; start += 50) await sink.write(bytes.subarray(start, start + 50))
  await sink.end()
  return await sink.finished
}

t.test('equal inputs are kept once, also from different clients', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const references = await Promise.all(Array.from({ length: 8 }, () => store.putInput(red, 'png')))
  const name = `${sha256(red)}.png`
  t.same(references, Array(8).fill({ $media: name }))
  t.same(await filesIn(directory), [name])
  t.ok((await readFile(join(directory, 'media', 'inputs', name.slice(0, 2), name))).equals(red))
  t.ok((await store.readInput({ $media: name })).equals(red))
  await store.removeInputs(references)
  t.same(await filesIn(directory), [])
  await t.rejects(store.readInput({ $media: name }), { code: 'image_not_found' })
})

t.test('an input that a power cut shortened is written again', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const { $media: name } = await store.putInput(red, 'png')
  await truncate(join(directory, 'media', 'inputs', name.slice(0, 2), name), 10)
  t.ok((await store.readInput(await store.putInput(red, 'png'))).equals(red))
})

t.test('an output that the disk does not take keeps no name', async t => {
  const folder = t.testdir()
  const files = await createFolderFiles(folder)
  const draft = join(folder, 'draft')
  await writeFile(draft, red)
  const lost = {
    path: draft,
    source: bufferSource(red),
    sha256: sha256(red),
    async flush () { throw Object.assign(new Error('no space'), { code: 'ENOSPC' }) },
    async moveTo () {},
    async claim (path: string) {
      await writeFile(path, red)
      return true
    }
  }
  await t.rejects(files.add('picture.png', lost, 'image/png'), { code: 'ENOSPC' })
  t.same(await filesIn(folder), ['draft'])
})

t.test('an input that a job uses again meanwhile stays', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const fresh = await store.putInput(red, 'png')
  const old = await store.putInput(blue, 'jpg')
  const pathOf = ({ $media: name }: typeof old) => join(directory, 'media', 'inputs', name.slice(0, 2), name)
  for (const reference of [fresh, old]) await utimes(pathOf(reference), new Date(1000), new Date(1000))
  await store.putInput(red, 'png')
  const since = Date.now() - 60_000
  const listed = []
  for await (const reference of store.listInputs(since)) listed.push(reference)
  t.same(listed, [old])
  await store.removeInputs([fresh, old], since)
  t.same(await filesIn(directory), [fresh.$media])
})

t.test('an invalid reference leads to no file', async t => {
  const directory = t.testdir({ secret: 'x' })
  const store = await createMediaStore({ directory })
  for (const name of ['../../secret', '/etc/passwd', '', `${'a'.repeat(64)}.exe`, `${'a'.repeat(64)}.png/..`]) {
    await t.rejects(store.readInput({ $media: name }), { code: 'image_not_found' }, name)
    await t.rejects(store.removeInputs([{ $media: name }]), { code: 'image_not_found' }, name)
  }
})

t.test('an output is stored under its public name, with the type and size of its bytes', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const cases = [[red, 'image/png', 'png'], [blue, 'image/jpeg', 'jpg'], [green, 'image/webp', 'webp']] as const
  for (const [index, [bytes, mime, extension]] of cases.entries()) {
    const name = `1f0c2a9e_2026-11-21T09-30-00-000Z_${index}.${extension}`
    t.same(await storeOutput(store, bytes, index),
      { name, mime, width: 32, height: 16, bytes: bytes.length, sha256: sha256(bytes) })
    const open = await store.openOutput(name)
    t.match(open, { mime, bytes: bytes.length })
    t.ok((await buffer(await open.stream())).equals(bytes))
    const again = await store.openOutput(name)
    t.ok((await buffer(await again.stream({ start: 4, end: 9 }))).equals(bytes.subarray(4, 10)))
  }
  await store.removeOutput('1f0c2a9e_2026-11-21T09-30-00-000Z_0.png')
  await store.removeOutput('1f0c2a9e_2026-11-21T09-30-00-000Z_0.png')
  t.equal((await filesIn(directory)).length, 2)
})

t.test('outputs that want the same name at once all keep their own', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const images = await Promise.all(['red', 'blue', 'green', 'black', 'white'].map(async color =>
    await image(color).png().toBuffer()))
  const stored = await Promise.all(images.map(async bytes => await storeOutput(store, bytes)))
  t.equal(new Set(stored.map(({ name }) => name)).size, images.length)
  for (const [index, { name }] of stored.entries()) {
    t.match(name, /^1f0c2a9e_2026-11-21T09-30-00-00[0-4]Z_0\.png$/)
    t.ok((await readFile(join(directory, 'outputs', name))).equals(images[index] ?? red))
  }
})

t.test('images that arrive at once each keep their own bytes, and copy those that the caller uses again', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const sizes = [1, 100, 4095, 70_000, 262_143, 262_144, 262_145, 400_000, 900_000]
  const images = sizes.map(size => Buffer.concat([red, randomBytes(size)]))
  const outcomes = await Promise.all(images.map(async (bytes, index) => {
    const sink = await store.createOutputSink(jobId, index, timestamp)
    const piece = Buffer.alloc([50_000, 262_144, 300_000][index % 3] ?? 0)
    for (let start = 0; start < bytes.length; start += piece.length) {
      await sink.write(piece.subarray(0, bytes.copy(piece, 0, start)))
      piece.fill(0)
      if (index === 4) break
    }
    await (index === 4 ? sink.abort() : sink.end())
    return await sink.finished.catch(() => null)
  }))
  for (const [index, outcome] of outcomes.entries()) {
    if (index === 4) {
      t.equal(outcome, null)
      continue
    }
    const [bytes, stored] = [images[index], await readFile(join(directory, 'outputs', outcome?.name ?? ''))]
    t.ok(bytes !== undefined && stored.equals(bytes), `image ${index}`)
    t.match(outcome, { width: 32, height: 16, bytes: bytes?.length, sha256: sha256(stored) })
  }
  t.equal((await filesIn(directory)).length, images.length - 1)
})

t.test('an incomplete output, or one that is not an image, leaves no file', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const sink = await store.createOutputSink(jobId, 0, timestamp)
  await sink.write(red.subarray(0, 40))
  t.equal((await filesIn(directory)).length, 1, 'there is a draft while it arrives')
  await sink.abort()
  await sink.abort()
  await t.rejects(sink.finished, /broke off/)
  t.same(await filesIn(directory), [])
  for (const bytes of [Buffer.from('<html>an error page</html>'), red.subarray(0, 18), Buffer.alloc(0)]) {
    await t.rejects(storeOutput(store, bytes), { failureClass: 'bad-answer', code: 'corrupt_image' })
  }
  t.same(await filesIn(directory), [])
})

t.test('a rejected upload leaves no file', async t => {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const sink = await store.createInputSink(async () => { throw new Error('not today') })
  await sink.write(red)
  await sink.end()
  await t.rejects(sink.finished, /not today/)
  t.same(await filesIn(directory), [])
})

t.test('only regular files under our own names are opened', async t => {
  const directory = t.testdir({ 'secret.png': red, outputs: {} })
  const store = await createMediaStore({ directory })
  const folder = join(directory, 'outputs')
  const name = (index: number) => `1f0c2a9e_2026-11-21T09-30-00-000Z_${index}.png`
  await symlink(join(directory, 'secret.png'), join(folder, name(1)))
  await mkdir(join(folder, name(2)))
  await writeFile(join(folder, name(3)), '<script>alert(1)</script>')
  await writeFile(join(folder, name(4)), '')
  await run('mkfifo', [join(folder, name(5))])
  await writeFile(join(folder, 'notes.png'), red)
  const names = [
    name(1), name(2), name(3), name(4), name(5), name(6), 'notes.png', '../secret.png', '..', '.', '', '.drafts',
    `${folder}/${name(1)}`, `${name(1)}\0`, `${name(1)}/`, name(1).toUpperCase(), `./${name(1)}`, `..\\${name(1)}`
  ]
  for (const wrong of names) await t.rejects(store.openOutput(wrong), { code: 'image_not_found' }, wrong)
})

t.test('a start removes the drafts of a process that died, and no others', async t => {
  const directory = t.testdir({ outputs: { '.drafts': { old: 'x', new: 'x' } }, media: { inputs: { '.drafts': { old: 'x' } } } })
  const old = new Date(Date.now() - 3_700_000)
  for (const folder of ['outputs', 'media/inputs']) await utimes(join(directory, folder, '.drafts', 'old'), old, old)
  await createMediaStore({ directory })
  t.same(await filesIn(directory), ['new'])
})

/** A folder on a disk of 256 KiB; null if this user cannot mount one. */
async function smallDisk (): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), 'sq-disk-'))
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder])
    t.after(async () => {
      // The store keeps a folder open for a moment.
      await run('umount', ['-l', folder])
      await rmdir(folder)
    })
    return folder
  } catch {
    await rmdir(folder)
    return null
  }
}

const disk = await smallDisk()
t.test('a full disk has an error of its own, leaves nothing behind and is over when there is space', {
  skip: disk === null && 'no permission to mount a small disk'
}, async t => {
  const directory = disk ?? ''
  const store = await createMediaStore({ directory })
  const large = Buffer.concat([red, Buffer.alloc(400_000)])
  const full = { code: 'storage_full', status: 503 }
  await t.rejects(store.putInput(large, 'png'), full)
  const sink = await store.createOutputSink(jobId, 0, timestamp)
  await t.rejects(sink.write(large), full)
  await sink.abort()
  t.same(await filesIn(directory), [])
  t.equal((await stat(join(directory, 'outputs', (await storeOutput(store, red)).name))).size, red.length)
})
