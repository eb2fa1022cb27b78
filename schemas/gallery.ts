import { Type, type Static } from '@sinclair/typebox'
import { Closed, Nullable, Ref, SeedNumber, seedText, StringEnum, success, Timestamp } from './kit.ts'

const filename = Type.String({
  maxLength: 100, description: 'Name under /outputs/.', examples: ['1f0c2a9e_2026-11-21T09-30-00-000Z_0.png']
})
const roles = ['image', 'grid', 'extra'] as const

export const GalleryImageView = Type.Object({
  filename,
  url: Type.String({ description: 'Where to get it.' }),
  thumbnail_url: Type.String({ description: 'Where to get a WebP of at most 320 by 320 pixels.' }),
  mime: Type.String({ description: 'Content type.' }),
  width: Type.Integer({ description: 'Pixels.' }),
  height: Type.Integer({ description: 'Pixels.' }),
  bytes: Type.Integer({ description: 'Size of the file.' }),
  seed: Nullable(SeedNumber('Seed that made it, where known.')),
  ...seedText,
  role: StringEnum(roles, { description: 'image: a result. grid: a contact sheet. extra: a ControlNet map or a mask.' }),
  job_id: Type.String({ description: 'Job that made it.' }),
  accepted_at: Timestamp('When that job was accepted; images are ordered by it.'),
  created_at: Timestamp('When that job finished.'),
  prompt: Type.String({ description: 'Of the job.' }),
  checkpoint: Nullable(Type.String(), { description: 'What made it, where known.' }),
  server: Type.String({ description: 'Alias of the server that made it.' }),
  api_key_id: Nullable(Type.String(), { description: 'Access key that owns the job.' })
}, { $id: 'GalleryImage', description: 'One image with what is needed to find it.' })
export type GalleryImageView = Static<typeof GalleryImageView>

export const GalleryQuery = Type.Object({
  search: Type.Optional(Type.String({ maxLength: 200, description: 'Only images whose prompt contains this.' })),
  model: Type.Optional(Type.String({ maxLength: 200, description: 'Only images made with a checkpoint or LoRA whose name contains this.' })),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'Only images of the server with this alias.' })),
  key: Type.Optional(Type.String({
    maxLength: 64, description: 'Only images of the access key with this id; any but its own needs jobs:read:all.'
  })),
  since: Type.Optional(Timestamp('Only images of jobs accepted at or after this moment.')),
  until: Type.Optional(Timestamp('Only images of jobs accepted before this moment.')),
  role: Type.Optional(StringEnum([...roles, 'any'], { default: 'image', description: 'Only images in this role.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 60, description: 'Images a page, about: those of one job stay together.' })),
  cursor: Type.Optional(Type.String({ pattern: '^\\d{1,20}$', description: '`next_cursor` of the page before; stable while images come and go.' }))
})
export type GalleryQuery = Static<typeof GalleryQuery>

export const GalleryView = Type.Object({
  success,
  count: Type.Integer({ description: 'Images on this page.' }),
  images: Type.Array(Ref(GalleryImageView), { description: 'The page, newest job first.' }),
  next_cursor: Nullable(Type.String(), { description: 'Leads to the next page; null at the end.' })
}, { $id: 'GalleryPage' })

const plainFields = {
  filename,
  created: Timestamp('When its job finished.'),
  size: Type.Integer({ description: 'Bytes.' }),
  job_id_prefix: Nullable(Type.String(), { description: 'First eight digits of the job\'s id.' })
}

export const PlainImage = Type.Object(plainFields, { $id: 'PlainImage', description: 'An image as StableQueue always listed it.' })

export const PlainImageInfo = Type.Object({
  ...plainFields,
  url: Type.String({ description: 'Where to get it.' }),
  job_id: Type.String({ description: 'Job that made it.' })
}, { $id: 'PlainImageInfo' })

export const PlainGallery = Type.Object({
  total: Type.Integer({ description: 'Images in all.' }),
  images: Type.Array(Ref(PlainImage), { description: 'Newest job first.' }),
  next_cursor: Nullable(Type.String(), { description: 'Leads to further ones; null at the end.' })
}, { $id: 'PlainGallery' })

/** One zip or deletion takes so many images. */
export const maxImages = 2000

const filenames = Type.Array(filename, { minItems: 1, maxItems: maxImages, uniqueItems: true, description: 'Names under /outputs/.' })

export const ImageSelection = Closed({ filenames }, { $id: 'ImageSelection', description: 'Images.' })

export const ImagesDeleted = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  deleted: Type.Array(Type.String(), { description: 'Names of the deleted images.' }),
  missing: Type.Array(Type.String(), { description: 'Names of those that were not there, or are not yours.' })
}, { $id: 'ImagesDeleted' })

export const ZipRequest = Closed({
  filenames,
  parameters: Type.Optional(Type.Boolean({ default: false, description: 'Whether each image has a JSON file with its parameters beside it.' }))
}, { $id: 'ZipRequest', description: 'Images to be fetched as one zip.' })

export const ZipAnswer = Type.Object({
  success,
  id: Type.String({ description: 'The zip.' }),
  url: Type.String({ description: 'Address of the zip, for the caller that requested it.' }),
  count: Type.Integer({ description: 'Images in it.' }),
  bytes: Type.Integer({ description: 'Size of the images.' }),
  expires_at: Timestamp('Until when it can be fetched.')
}, { $id: 'ZipAnswer' })
