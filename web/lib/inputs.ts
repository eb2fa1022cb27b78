import type { Parameters } from './api-types.ts'
import { addressOf, pathOf } from './api.ts'
import { dataUrlOf } from './images.ts'
import { common } from '../texts/en/common.ts'

/** The input images of a job: start images, masks, ControlNet images. Its parameters refer to them as `$media`. */

export function isInput (value: unknown): value is { $media: string } {
  return typeof value === 'object' && value !== null && '$media' in value && typeof value.$media === 'string'
}

/**
 * @param value parameters of a job, or a part of them
 * @returns path of each image in the value, such as `['init_images', '0']`
 */
export function inputsOf (value: unknown, path: string[] = []): Array<{ path: string[], name: string }> {
  if (isInput(value)) return [{ path, name: value.$media }]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, part]) => inputsOf(part, [...path, key]))
}

/** Whether a job only upscales or restores images; the form of the Create page does not cover that. */
export function isEnlarging ({ generation_params: parameters }: { generation_params: Parameters }) {
  return parameters.init_images !== undefined && parameters.steps === undefined
}

export function inputUrl (jobId: string, name: string) {
  return addressOf(pathOf('/api/v2/jobs', jobId, 'inputs', name))
}

/** An input image as a file, like one chosen on this machine. */
export async function fileOfInput (jobId: string, name: string) {
  const response = await fetch(inputUrl(jobId, name))
  if (!response.ok) throw new Error(common.inputIsGone)
  return new window.File([await response.blob()], name, { type: response.headers.get('content-type') ?? '' })
}

/** The value with every image in it as a data URL, ready to send. */
export async function withInputs (value: unknown, jobId: string): Promise<unknown> {
  if (isInput(value)) return await dataUrlOf(await fileOfInput(jobId, value.$media))
  if (Array.isArray(value)) return await Promise.all(value.map(part => withInputs(part, jobId)))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(await Promise.all(
    Object.entries(value).map(async ([key, part]) => [key, await withInputs(part, jobId)] as const)))
}
