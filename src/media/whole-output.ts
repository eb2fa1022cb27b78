import { buffer } from 'node:stream/consumers'
import type { MediaStore } from './store.ts'

/** All bytes of an output, for what has to be looked into. @throws ServiceError `image_not_found` */
export async function wholeOutput (media: Pick<MediaStore, 'openOutput'>, name: string): Promise<Buffer> {
  return await buffer((await media.openOutput(name)).stream())
}
