import type { ControlNetTypes, PreprocessAnswer } from '../../schemas/bots-extensions.ts'
import type { BotControlNetUnit } from '../../schemas/bots-generation.ts'
import { commonUnit, findControlNetModule, thresholdsOf, thresholdValue } from '../a1111/controlnet.ts'
import { invalidField } from '../a1111/field-values.ts'
import { nearest } from '../a1111/names.ts'
import { messageOf, ServiceError } from '../lib/errors.ts'
import { fieldsOf, textOf, textsOf } from '../lib/json-values.ts'
import sharp from '../lib/sharp.ts'
import { inventoriesOf } from '../models/servers.ts'
import type { PassThrough } from '../sdapi/pass-through.ts'
import type { UpstreamClients } from '../sdapi/upstream-clients.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { RequestImage } from './images.ts'

/** An image to make a control map of. */
export interface PreprocessRequest {
  readonly image: Buffer
  readonly mask: Buffer | null
  /** By any of its names. */
  readonly module: string
  readonly resolution: number
  readonly thresholdA: number | null
  readonly thresholdB: number | null
  /** Alias; empty for any server that can. */
  readonly target: string
}

/** Questions of bots about ControlNet. */
export interface ControlNetService {
  models (): Promise<string[]>
  /** By label, since every kind of server accepts that name. */
  modules (): Promise<string[]>
  types (): Promise<ControlNetTypes['control_types']>
  /**
   * A true map, made by a server; never an imitation.
   * @throws ServiceError `model_not_found` with the nearest names for a preprocessor that no server has
   */
  preprocess (requested: PreprocessRequest, signal: AbortSignal): Promise<PreprocessAnswer>
}

export interface ControlNetServiceDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly upstream: Pick<UpstreamClients, 'readAll' | 'reachable'>
  readonly passThrough: Pick<PassThrough, 'postTo'>
}

/** A server that has a preprocessor, and its name for it. */
interface AbleServer { readonly server: Server, readonly label: string }

/** Forge uses any number as it is, so one is sent even if the preprocessor has no slider for it. */
const anyThreshold = 64

export function createControlNetService (dependencies: ControlNetServiceDependencies): ControlNetService {
  const { registry, states, upstream, passThrough } = dependencies

  async function listed (name: 'controlNetModels' | 'controlNetModules'): Promise<string[]> {
    const lists = (await inventoriesOf(registry, states)).map(({ inventory }) => inventory?.[name] ?? [])
    return [...new Set(lists.flat())].filter(entry => entry.toLowerCase() !== 'none')
  }

  /** Names as the servers show them; the inventory also holds A1111's internal names. */
  async function modules (): Promise<string[]> {
    const answers = await upstream.readAll('/controlnet/module_list?alias_names=true', '')
    const labels = answers.flatMap(answer => textsOf(fieldsOf(answer).module_list))
    const all = labels.length > 0 ? labels : await listed('controlNetModules')
    return [...new Set(all)].filter(label => label.toLowerCase() !== 'none')
  }

  async function types (): Promise<ControlNetTypes['control_types']> {
    const merged: ControlNetTypes['control_types'] = {}
    for (const answer of await upstream.readAll('/controlnet/control_types', '')) {
      for (const [name, given] of Object.entries(fieldsOf(fieldsOf(answer).control_types))) {
        const fields = fieldsOf(given)
        const before = merged[name]
        merged[name] = {
          module_list: [...new Set([...before?.module_list ?? [], ...textsOf(fields.module_list)])],
          model_list: [...new Set([...before?.model_list ?? [], ...textsOf(fields.model_list)])],
          default_option: before?.default_option ?? textOf(fields.default_option) ?? 'none',
          default_model: before?.default_model ?? textOf(fields.default_model) ?? 'None'
        }
      }
    }
    return merged
  }

  /** Servers that have it, each with its own name for it, best first. */
  async function able ({ module, target }: PreprocessRequest): Promise<AbleServer[]> {
    const inventories = await inventoriesOf(registry, states)
    const moduleLists = new Map(inventories.map(({ server, inventory }) =>
      [server.id, inventory?.controlNetModules ?? []]))
    const able = (await upstream.reachable(target)).flatMap(server => {
      const label = findControlNetModule(module, moduleLists.get(server.id) ?? [])
      return label === null ? [] : [{ server, label }]
    })
    const known = [...new Set([...moduleLists.values()].flat())]
    if (able.length > 0 || known.length === 0 || findControlNetModule(module, known) !== null) return able
    const near = nearest(module, known)
    throw new ServiceError('model_not_found', `No server has a preprocessor "${module.slice(0, 200)}".` +
      (near.length === 0 ? '' : ` Nearest: ${near.join(', ')}.`), { field: 'processor', nearest: near })
  }

  async function ask (
    { server, label }: AbleServer, requested: PreprocessRequest, signal: AbortSignal
  ): Promise<PreprocessAnswer> {
    const { a, b } = thresholdsOf(label)
    const answer = fieldsOf(await passThrough.postTo(server, '/controlnet/detect', {
      controlnet_module: label,
      controlnet_input_images: [await asPng(requested.image)],
      controlnet_processor_res: requested.resolution,
      controlnet_threshold_a: thresholdValue(requested.thresholdA, a) ?? anyThreshold,
      controlnet_threshold_b: thresholdValue(requested.thresholdB, b) ?? anyThreshold,
      ...(requested.mask === null ? {} : { controlnet_masks: [await asPng(requested.mask)] })
    }, signal))
    const [map] = textsOf(answer.images)
    if (map === undefined || !await isImage(map)) {
      return { status: 'error', preprocessor: label, error: map ?? `${server.alias} made no map; the result of ${label} is possibly not a picture.` }
    }
    const poses = Array.isArray(answer.poses) ? { poses: answer.poses as unknown[] } : {}
    return { status: 'success', preprocessor: label, processed_image: map, method: 'api', ...poses }
  }

  return {
    models: async () => await listed('controlNetModels'),
    modules,
    types,
    async preprocess (requested, signal) {
      let problem = 'No server that has ControlNet can be reached just now.'
      for (const one of await able(requested)) {
        try {
          return await ask(one, requested, signal)
        } catch (error) {
          problem = `${one.server.alias}: ${messageOf(error)}`
        }
      }
      // the one preprocessor that is pure arithmetic
      if (/^invert\b/i.test(requested.module)) {
        const map = await sharp(requested.image).removeAlpha().toColourspace('srgb').negate().png().toBuffer()
        return { status: 'success', preprocessor: 'invert', processed_image: map.toString('base64'), method: 'local' }
      }
      return { status: 'error', preprocessor: requested.module, error: problem }
    }
  }
}

/** Preprocessors misread images with palettes, and rotate none. */
async function asPng (image: Buffer): Promise<string> {
  return (await sharp(image).autoOrient().removeAlpha().toColourspace('srgb').png().toBuffer()).toString('base64')
}

/** Forge returns a sentence instead of an image. */
async function isImage (text: string): Promise<boolean> {
  return await sharp(Buffer.from(text, 'base64')).metadata().then(() => true, () => false)
}

/** Images of the request itself. */
export interface RequestImages {
  /** For each unit without an image of its own. */
  readonly image?: RequestImage | null
  /** For the units in their order; units that are left out or null use the one above. */
  readonly images?: ReadonlyArray<RequestImage | null>
  /** For units whose preprocessor regenerates a part. */
  readonly mask?: RequestImage | null
  /** Whether the request starts from an image, which then serves a unit without one. */
  readonly startsFromImage?: boolean
}

/**
 * Units of a request as `alwayson_scripts.ControlNet.args`, without units that are switched off. `withControlNet`
 * resolves names of models and preprocessors, and the thresholds that depend on them, for each server.
 * @throws ServiceError `invalid_field_value` for a unit without any image, or guidance that ends before it begins
 */
export function controlNetUnits (
  units: readonly BotControlNetUnit[], images: RequestImages, field = 'controlnet_units'
): Array<Record<string, unknown>> {
  return units.flatMap((unit, index) => unit.enabled ? [unitAt(unit, index, images, `${field}.${index}`)] : [])
}

function unitAt (unit: BotControlNetUnit, index: number, images: RequestImages, field: string) {
  const { preprocessor, image: own, mask: ownMask, resize_mode: resize, threshold_a: a, threshold_b: b, ...others } =
    unit
  const image = own ?? images.images?.[index] ?? images.image ?? null
  if (image === null && images.startsFromImage !== true) {
    throw invalidField(`${field}.image`, `${field} needs an image: its own, the one at its place in images, or the image of the request.`)
  }
  const mask = ownMask ?? (/inpaint/i.test(preprocessor ?? '') ? images.mask ?? null : null)
  return commonUnit({
    ...others,
    module: preprocessor ?? 'none',
    resize_mode: resize ?? 'Crop and Resize',
    // behind the images of the answer they prove that the unit had an effect
    save_detected_map: true,
    ...(image === null ? {} : { image }),
    ...(mask === null ? {} : { mask_image: mask }),
    ...(a === null ? {} : { threshold_a: a }),
    ...(b === null ? {} : { threshold_b: b })
  }, field)
}
