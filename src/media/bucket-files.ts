import type { Bucket, FileContent } from './bucket.ts'
import { noSuchImage, type MediaFiles } from './files.ts'
import { createFileSink, type DraftFile, prepareDraftFolder, storing } from './file-sink.ts'
import { outputFormats } from './output-formats.ts'
import { draftFolderOf } from './storage.ts'

/** An input that was stored less than this ago needs no new time; in milliseconds, less than any removal waits. */
const asGoodAsNew = 3000

const mimes = new Map<string, string>(Object.values(outputFormats).map(({ mime, extension }) => [extension, mime]))

export interface BucketFilesOptions {
  readonly bucket: Bucket
  /** What their keys begin with, such as `outputs/`. */
  readonly start: string
  /** For drafts. */
  readonly folder: string
  /** Whether open files have links. */
  readonly redirect: boolean
}

/** Files as objects of a bucket. They arrive as drafts on this machine, where they can be checked and sent again. */
export async function createBucketFiles ({ bucket, start, folder, redirect }: BucketFilesOptions): Promise<MediaFiles> {
  const drafts = draftFolderOf(folder)
  const keyOf = (name: string) => start + name
  await prepareDraftFolder(drafts)

  async function isOlder (name: string, storedBefore: number): Promise<boolean> {
    if (storedBefore === Infinity) return true
    const facts = await bucket.facts(keyOf(name))
    return facts !== null && Date.now() - facts.age < storedBefore
  }

  return {
    createSink: async place => await createFileSink(drafts, place),
    add: async (name, draft, mime) => await bucket.put(keyOf(name), contentOf(draft), mime, 'new'),
    async keep (name, draft, mime) {
      const known = await bucket.facts(keyOf(name))
      if (known !== null && known.bytes === draft.source.size) {
        if (known.age < asGoodAsNew || await bucket.renew(keyOf(name), { mime, sha256: draft.sha256 })) return
      }
      await bucket.put(keyOf(name), contentOf(draft), mime, 'any')
    },
    async putBytes (name, bytes, mime) {
      await storing(async () => await bucket.put(keyOf(name), bytes, mime, 'any'))
    },
    read: async name => await storing(async () => await bucket.readAll(keyOf(name))),
    async open (name) {
      const facts = await storing(async () => await bucket.facts(keyOf(name)))
      // It is served as an image or video only, whatever others write into the bucket.
      const mime = mimes.get(name.slice(name.lastIndexOf('.') + 1))
      if (facts === null || mime === undefined) return null
      return {
        mime,
        bytes: facts.bytes,
        modifiedAt: facts.modifiedAt,
        async stream (part) {
          const stream = await storing(async () => await bucket.read(keyOf(name), part, facts.tag))
          if (stream === null) throw noSuchImage()
          return stream
        },
        ...(redirect ? { link: (disposition: string) => bucket.link(keyOf(name), { mime, disposition }) } : {}),
        close: async () => {}
      }
    },
    async remove (name, storedBefore = Infinity) {
      if (await isOlder(name, storedBefore)) await bucket.remove(keyOf(name))
    },
    async * list (storedBefore) {
      for await (const { key, age } of bucket.list(start)) {
        if (Date.now() - age < storedBefore) yield key.slice(start.length)
      }
    },
    removeDrafts: async () => { await prepareDraftFolder(drafts) }
  }
}

function contentOf ({ path, source, sha256 }: DraftFile): FileContent {
  return { path, size: source.size, sha256 }
}
