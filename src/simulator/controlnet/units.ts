import type { StruckFaults } from '../faults/faults.ts'
import { HttpException } from '../failures.ts'
import type { Plan } from '../generation/plan.ts'
import type { GenerationRequest } from '../generation/request.ts'
import { decodeImage, readBase64 } from '../images/decode.ts'
import { resizePicture, type Picture } from '../images/pixels.ts'
import type { ServerProcess } from '../server-process.ts'
import type { Family } from '../flavors.ts'
import { drawMap } from './detect.ts'
import { findModule, models, type Module } from './lists.ts'
import { isObject, readA1111Unit, readForgeUnit, type Unit } from './read-unit.ts'

/** What the extension makes of one generation. */
export interface ControlNet {
  /** What it writes into the infotext: one entry for each unit, before it loads anything. */
  readonly extraParameters: Readonly<Record<string, string>>
  /** What it appends behind the images: a map for each unit, two with hires fix; none where it failed. */
  readonly maps: readonly Picture[]
  /** The picture under control, whose lines show through; as it is where nothing controls. */
  apply (picture: Picture): Picture
}

/** How strongly a unit of weight 1 shows. */
const strength = 0.4

/**
 * Runs the extension over a request. A unit that A1111's extension cannot parse fails the request; whatever goes wrong
 * later, and everything at Forge, is only written to the console, and the picture comes out without any control.
 * @throws PythonError
 */
export async function runControlNet (
  { machine }: ServerProcess, request: GenerationRequest,
  { plan, faults }: { readonly plan: Plan, readonly faults: StruckFaults }
): Promise<ControlNet> {
  const { family, controlNet, controlNetUnits } = machine.settings
  const units = controlNet ? readUnits(request, family, controlNetUnits) : []
  const extraParameters = Object.fromEntries(units.map((unit, index) => [
    `ControlNet ${index}`, `Module: ${unit.module}, Model: ${unit.model}, Weight: ${unit.weight}`
  ]))
  const loaded = faults.has('script-error') ? null : await loadUnits(units, request, family)
  if (loaded === null) return { extraParameters, maps: [], apply: picture => picture }
  const sizes = [
    { width: plan.imageWidth, height: plan.imageHeight },
    ...plan.hires === null ? [] : [{ width: plan.hires.width, height: plan.hires.height }]
  ]
  return {
    extraParameters,
    maps: sizes.flatMap(size => loaded.filter(({ isShown }) => isShown).map(({ map }) => resizePicture(map, size))),
    apply: picture => loaded.reduce((drawn, { map, weight }) => showThrough(drawn, map, weight * strength), picture)
  }
}

/** In either spelling of the title that the extension accepts; units beyond the count are cut off. */
function readUnits (request: GenerationRequest, family: Family, count: number): Unit[] {
  const entry = Object.entries(request.alwayson_scripts).find(([title]) => title.toLowerCase() === 'controlnet')
  const args: unknown = isObject(entry?.[1]) ? entry[1].args : []
  const read = family === 'forge' ? readForgeUnit : readA1111Unit
  return (Array.isArray(args) ? args.slice(0, count) : []).flatMap((unit: unknown) =>
    isObject(unit) ? read(unit) ?? [] : [])
}

interface LoadedUnit {
  readonly map: Picture
  readonly isShown: boolean
  readonly weight: number
}

/** All units, or null where one of them cannot be used: the extension gives up at the first. */
async function loadUnits (
  units: readonly Unit[], request: GenerationRequest, family: Family
): Promise<LoadedUnit[] | null> {
  const loaded: LoadedUnit[] = []
  for (const unit of units) {
    const module = findModule(family, unit.module)
    const source = unit.image ?? firstImage(request)
    if (module === undefined || source === null || !hasModel(unit, module, family)) return null
    const picture = await decoded(source)
    const mask = unit.mask === null ? null : await decoded(unit.mask)
    if (picture === null || (unit.mask !== null && mask === null)) return null
    const isMaskFitting = mask === null || family === 'forge' ||
      (mask.width === picture.width && mask.height === picture.height)
    if (!isMaskFitting || (module.needsMask && mask === null)) return null
    loaded.push({
      map: drawMap(picture, module.label), isShown: unit.showsMap && module.makesMap, weight: unit.weight
    })
  }
  return loaded
}

/** A1111's extension takes the shortest name that contains the wanted one; Forge wants every letter. */
function hasModel ({ model }: Unit, module: Module, family: Family): boolean {
  if (module.modelFree) return true
  if (model.toLowerCase() === 'none') return false
  return family === 'forge' ? models.includes(model) : models.some(one => one.toLowerCase().includes(model.toLowerCase()))
}

function firstImage (request: GenerationRequest): string | null {
  const image = request.init_images?.[0]
  return typeof image === 'string' ? image : null
}

async function decoded (image: string): Promise<Picture | null> {
  try {
    return await decodeImage(readBase64(image))
  } catch (error) {
    if (error instanceof HttpException) return null
    throw error
  }
}

function showThrough (picture: Picture, map: Picture, share: number): Picture {
  const fitting = resizePicture(map, picture)
  const data = Buffer.from(picture.data)
  for (let index = 0; index < data.length; index += 1) {
    const from = data[index] as number
    data[index] = from + ((fitting.data[index] as number) - from) * Math.min(1, share)
  }
  return { ...picture, data }
}
