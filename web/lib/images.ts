import { addressOf } from './api.ts'
import { common } from '../texts/en/common.ts'

/** The address of a picture that can be gone by now: it is empty then, because browsers write a 404 to the console. */
export function emptyIfMissing (url: string) {
  return `${url}${url.includes('?') ? '&' : '?'}missing=empty`
}

/** The address of an output's thumbnail. */
export function thumbnailOf ({ thumbnail_url: thumbnail, url }: { thumbnail_url?: string, url: string }) {
  return thumbnail === undefined ? url : emptyIfMissing(thumbnail)
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
