import { addressOf } from './api.ts'
import { common } from '../texts/en/common.ts'

/** The address of an output's thumbnail. */
export function thumbnailOf (image: { thumbnail_url?: string, url: string }) {
  return image.thumbnail_url ?? image.url
}

export async function dataUrlOf (file: Blob) {
  return await new Promise<string>((resolve, reject) => {
    const reader = new window.FileReader()
    reader.onload = () => resolve(String(reader.result))
    reader.onerror = () => reject(new Error(common.imageNotReadable))
    reader.readAsDataURL(file)
  })
}

/** An output as a file, like one chosen on this machine. @param name under /outputs/ */
export async function fileOfOutput (name: string) {
  const response = await fetch(addressOf(`/outputs/${encodeURIComponent(name)}`))
  if (!response.ok) throw new Error(common.imageIsGone)
  const blob = await response.blob()
  return new window.File([blob], name, { type: blob.type })
}

/** Types of images that jobs can start from. */
export const imageTypes = [
  'image/png', 'image/jpeg', 'image/webp', 'image/avif', 'image/gif', 'image/tiff', 'image/bmp'
]

/** @param transfer dropped or pasted data @returns its first image */
export function imageIn (transfer: { files: FileList | null } | null) {
  return [...transfer?.files ?? []].find(({ type }) => imageTypes.includes(type))
}

/** The size of an image file in pixels. */
export async function sizeOf (file: File) {
  const bitmap = await window.createImageBitmap(file)
  const { width, height } = bitmap
  bitmap.close()
  return { width, height }
}
