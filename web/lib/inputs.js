import { pathOf } from './api.js'
import { dataUrlOf } from './images.js'

/** Images that a job starts from: start images, masks, those of ControlNet. Its parameters name them as `$media`. */

function isInput (value) {
  return typeof value === 'object' && value !== null && typeof value.$media === 'string'
}

/**
 * @param {unknown} value parameters of a job, or a part of them
 * @returns {Array<{ path: string[], name: string }>} path is where it stands, such as `['init_images', '0']`
 */
export function inputsOf (value, path = []) {
  if (isInput(value)) return [{ path, name: value.$media }]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, part]) => inputsOf(part, [...path, key]))
}

/** Whether a job draws nothing, but enlarges or mends pictures: the form of the Create page is not about that. */
export function isEnlarging ({ generation_params: parameters }) {
  return parameters.init_images !== undefined && parameters.steps === undefined
}

export function inputUrl (jobId, name) {
  return pathOf('/api/v2/jobs', jobId, 'inputs', name)
}

/** One of them as a file, as if it had been chosen on this machine. */
export async function fileOfInput (jobId, name) {
  const response = await fetch(inputUrl(jobId, name))
  if (!response.ok) throw new Error('An input image of the job no longer exists; choose another.')
  return new window.File([await response.blob()], name, { type: response.headers.get('content-type') ?? '' })
}

/** The value with every image in it as a data URL, ready to be sent. */
export async function withInputs (value, jobId) {
  if (isInput(value)) return await dataUrlOf(await fileOfInput(jobId, value.$media))
  if (Array.isArray(value)) return await Promise.all(value.map(part => withInputs(part, jobId)))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(await Promise.all(
    Object.entries(value).map(async ([key, part]) => [key, await withInputs(part, jobId)])))
}
