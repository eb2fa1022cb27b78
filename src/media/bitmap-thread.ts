import { parentPort, workerData } from 'node:worker_threads'
import { decode } from 'bmp-ts'

/** Input of the thread. */
export interface BitmapRequest {
  readonly bytes: Uint8Array
}

/** Four bytes a pixel: red, green, blue, alpha. */
export interface Bitmap {
  readonly width: number
  readonly height: number
  readonly pixels: Uint8Array<ArrayBuffer>
}

const { bytes } = workerData as BitmapRequest
const { width, height, data } = decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), { toRGBA: true })
const pixels = new Uint8Array(data)
// most programs leave the fourth byte empty and mean no transparency by it
if (!pixels.some((value, at) => at % 4 === 3 && value !== 0)) {
  for (let at = 3; at < pixels.length; at += 4) pixels[at] = 255
}
parentPort?.postMessage({ width, height, pixels } satisfies Bitmap, [pixels.buffer])
