import type { GenerationRequest } from '../generation/request.ts'
import type { Plan } from '../generation/plan.ts'
import { decodeImage, readBase64 } from '../images/decode.ts'
import type { Picture } from '../images/pixels.ts'
import type { ServerProcess } from '../server-process.ts'
import { detectEdges } from './detect.ts'

/** The part of a ControlNet unit that changes what comes out. */
interface Unit {
  readonly image: string | null
  readonly module: string
  readonly model: string
  readonly weight: number
}

/** The enabled units of a request, in either of the two spellings that the extension accepts. */
function readUnits (request: GenerationRequest): Unit[] {
  const entry = Object.entries(request.alwayson_scripts).find(([title]) => title.toLowerCase() === 'controlnet')
  const settings = entry?.[1]
  const units: unknown = typeof settings === 'object' && settings !== null && 'args' in settings ? settings.args : []
  if (!Array.isArray(units)) return []
  return units.flatMap((unit: unknown) => {
    if (typeof unit !== 'object' || unit === null) return []
    const given: Readonly<Record<string, unknown>> = { ...unit }
    if (given.enabled === false) return []
    return [{
      image: readImage(given.image ?? given.input_image),
      module: typeof given.module === 'string' ? given.module : 'none',
      model: typeof given.model === 'string' ? given.model : 'None',
      weight: typeof given.weight === 'number' ? given.weight : 1
    }]
  })
}

function readImage (image: unknown): string | null {
  if (typeof image === 'string') return image
  if (typeof image === 'object' && image !== null && 'image' in image) return readImage(image.image)
  return null
}

/** What the extension writes into the infotext, one entry for each unit. */
export function describeControlUnits (request: GenerationRequest): Record<string, string> {
  return Object.fromEntries(readUnits(request).map((unit, index) => [
    `ControlNet ${index}`, `Module: ${unit.module}, Model: ${unit.model}, Weight: ${unit.weight}`
  ]))
}

/** The detect maps that the extension appends behind the images, one for each unit that has a preprocessor. */
export async function drawControlMaps (
  server: ServerProcess, request: GenerationRequest, plan: Plan
): Promise<Picture[]> {
  if (!server.machine.settings.controlNet) return []
  const maps: Picture[] = []
  for (const unit of readUnits(request)) {
    const source = unit.image ?? firstImage(request)
    if (source === null || unit.module.toLowerCase() === 'none') continue
    const picture = await decodeImage(readBase64(source), { width: plan.imageWidth, height: plan.imageHeight })
    maps.push(detectEdges(picture))
  }
  return maps
}

function firstImage (request: GenerationRequest): string | null {
  const image = request.init_images?.[0]
  return typeof image === 'string' ? image : null
}
