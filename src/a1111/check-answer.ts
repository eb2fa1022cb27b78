import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { fieldsOf, objectOf, textsOf } from '../lib/json-values.ts'
import { isMoving, type StoredImage } from '../lib/media-types.ts'
import { isSeed } from '../lib/seeds.ts'
import { controlNetUnitsOf } from './controlnet.ts'
import { isRecord } from './field-values.ts'
import { finishedSize, outputSize } from './limits.ts'
import { bareName, folded, splitHash } from './names.ts'
import type { GenerationAnswer, GenerationMode } from './types.ts'

interface Traced {
  /** Of the script, in the server's list of always-on ones. */
  readonly title: RegExp
  /** Whether these arguments switch it on. */
  readonly isOn: (args: readonly unknown[], parameters: A1111Parameters) => boolean
  /** What it then writes into `extra_generation_params`. */
  readonly trace: RegExp
}

const byFirstFlag: Traced['isOn'] = ([first]) => first === true

/**
 * Always-on scripts that note that they ran. A1111 reports a script's errors only to its console, and answers with the
 * image made without it. Scripts that write nothing cannot be checked.
 */
const tracedScripts: readonly Traced[] = [
  {
    title: /^adetailer$/i,
    // a flag, another for img2img, then a record for each detector; older ones have the records alone
    isOn: args => args[0] !== false && args.some(unit =>
      isRecord(unit) && unit.ad_tab_enable !== false && (unit.ad_model ?? 'None') !== 'None'),
    trace: /^ADetailer /
  },
  { title: /^animatediff$/i, isOn: ([unit]) => isRecord(unit) && unit.enable === true, trace: /^AnimateDiff/ },
  { title: /^soft inpainting$/i, isOn: ([first], { mask }) => first === true && mask !== undefined, trace: /^Soft inpainting/ },
  { title: /^freeu integrated/i, isOn: byFirstFlag, trace: /^freeu_/ },
  { title: /^selfattentionguidance integrated/i, isOn: byFirstFlag, trace: /^sag_/ },
  { title: /^perturbedattentionguidance integrated/i, isOn: byFirstFlag, trace: /^pag_/ },
  { title: /^kohya hrfix integrated/i, isOn: byFirstFlag, trace: /^kohya_hrfix_/ },
  { title: /^latentmodifier integrated/i, isOn: byFirstFlag, trace: /^latent_modifier_/ },
  { title: /^dynamicthresholding/i, isOn: byFirstFlag, trace: /^dynthres_/ }
]

/** A warning for each script that was switched on and left no trace. */
function silentScripts (parameters: A1111Parameters, info: Readonly<Record<string, unknown>>): Warning[] {
  const extra = objectOf(info.extra_generation_params)
  if (extra === null) return []
  return Object.entries(parameters.alwayson_scripts ?? {}).flatMap(([title, script]) => {
    const known = tracedScripts.find(one => one.title.test(title))
    const { args } = fieldsOf(script)
    if (known === undefined || !Array.isArray(args) || !known.isOn(args as unknown[], parameters)) return []
    const [text = ''] = textsOf(info.infotexts)
    const isWritten = Object.keys(extra).some(name => known.trace.test(name)) ||
      text.split(/[\n,]\s*/).some(part => known.trace.test(part))
    return isWritten
      ? []
      : [{
          code: 'script_not_applied',
          message: `The script ${title} seems to have failed at the server: it left no trace in what the server tells ` +
            'of the picture. Its console says why.',
          field: `alwayson_scripts.${title}`
        }]
  })
}

/** The request, in the form for this server. */
export interface AskedGeneration {
  readonly parameters: Readonly<Record<string, unknown>>
  readonly checkpointTitle: string | null
  readonly mode?: GenerationMode
}

type MadeImage = Pick<StoredImage, 'mime' | 'width' | 'height' | 'role'>

/** How many images the parameters request; null if a script decides it. */
export function imagesAsked (parameters: Readonly<Record<string, unknown>>): number | null {
  return parameters.script_name === undefined ? outputSize(parameters).images : null
}

/**
 * Finds where a server did something other than requested. It answers 200 anyway, and only `info` shows the difference.
 * Fields that `info` does not mention are no difference.
 * @param images the stored images of the answer
 */
export function checkAnswer (
  asked: AskedGeneration, answer: GenerationAnswer, images: readonly MadeImage[] = []
): Warning[] {
  const info = answer.info ?? {}
  return [
    differentCheckpoint(asked.checkpointTitle, info),
    differentSampler(asked.parameters.sampler_name, info.sampler_name),
    differentSeed(asked.parameters.seed, info.seed),
    images.some(({ mime }) => isMoving(mime)) ? null : fewerImages(asked, answer, info),
    differentSize(asked, images),
    unrestored(asked.parameters, info),
    uncontrolled(asked, answer, info),
    undivided(asked.parameters, info),
    ...silentScripts(asked.parameters, info)
  ].filter(warning => warning !== null)
}

type Info = Readonly<Record<string, unknown>>

function differentCheckpoint (title: string | null, info: Info): Warning | null {
  if (title === null) return null
  const { name, hash } = splitHash(title, 1)
  const usedHash = textOrNull(info.sd_model_hash)
  const usedName = textOrNull(info.sd_model_name)
  const same = hash !== null && usedHash !== null
    ? sameHash(hash, usedHash)
    : usedName === null || sameName(name, usedName)
  return same ? null : { code: 'different_checkpoint', message: `The server generated with ${usedName ?? usedHash}, not with ${title}.`, field: 'checkpoint_name' }
}

function sameHash (one: string, other: string): boolean {
  const [short, long] = [one.toLowerCase(), other.toLowerCase()].toSorted((a, b) => a.length - b.length)
  return short !== undefined && long?.startsWith(short) === true
}

/** The server names the file without folder and ending; some name the folder too, joined by `_`. */
function sameName (title: string, used: string): boolean {
  const names = [bareName(title), bareName(title.replace(/[\\/]/g, '_'))].map(name => name.toLowerCase())
  return names.includes(bareName(used).toLowerCase())
}

function differentSampler (asked: unknown, used: unknown): Warning | null {
  if (typeof asked !== 'string' || typeof used !== 'string' || used === '' || folded(asked) === folded(used)) return null
  return { code: 'different_sampler', message: `The server used the sampler ${used}, not ${asked}.`, field: 'sampler_name' }
}

function differentSeed (asked: unknown, used: unknown): Warning | null {
  if (!isSeed(asked) || !isSeed(used) || asked === used) return null
  return { code: 'different_seed', message: `The server used the seed ${used}, not ${asked}.`, field: 'seed' }
}

/** More than asked is usual, since scripts and ControlNet add theirs. */
function fewerImages (asked: AskedGeneration, { imageCount }: GenerationAnswer, info: Info): Warning | null {
  const before = typeof info.index_of_first_image === 'number' ? info.index_of_first_image : 0
  const made = Math.max(0, imageCount - before)
  const wanted = imagesAsked(asked.parameters)
  if (wanted === null || made >= wanted) return null
  return { code: 'fewer_images', message: `The server made ${made} of ${wanted} images; another user has possibly interrupted it.`, field: 'batch_size' }
}

/** A generated image does not show whether faces were restored; a server without face restoration reports that. */
function unrestored ({ restore_faces: asked }: A1111Parameters, { restore_faces: done }: Info): Warning | null {
  if (asked !== true || done !== false) return null
  return { code: 'faces_not_restored', message: 'The server says that it restored no faces.', field: 'restore_faces' }
}

/** Scripts and extensions that enlarge or crop by themselves. */
const changesSize = /upscal|tiled|multidiffusion|outpaint|resize/i

/** A hires fix that failed silently, or a server with other sizes. */
function differentSize ({ mode, parameters }: AskedGeneration, images: readonly MadeImage[]): Warning | null {
  const scripts = Object.keys((parameters as A1111Parameters).alwayson_scripts ?? {})
  if (mode === 'extras' || parameters.script_name !== undefined || scripts.some(title => changesSize.test(title))) return null
  // an area that is inpainted at full size is pasted into its image, which keeps its own size
  if (parameters.mask !== undefined && parameters.inpaint_full_res !== false) return null
  const { width, height } = finishedSize(parameters)
  const other = images.find(image => image.role === 'image' && !isMoving(image.mime) &&
    (image.width !== width || image.height !== height))
  if (other === undefined) return null
  const isHires = parameters.enable_hr === true
  const why = isHires ? '; its hires fix seems to have failed' : ''
  return {
    code: 'different_size',
    message: `The server made ${other.width}x${other.height}, not ${width}x${height}${why}.`,
    field: isHires ? 'enable_hr' : 'width'
  }
}

/**
 * The extension does not report its failures. Its entry in `info` only proves that it read a unit; the map after the
 * images proves that the unit was used.
 */
function uncontrolled (asked: AskedGeneration, answer: GenerationAnswer, info: Info): Warning | null {
  const units = controlNetUnitsOf(asked.parameters).filter(({ enabled }) => enabled !== false)
  if (units.length === 0 || fewerImages(asked, answer, info) !== null) return null
  const written = fieldsOf(info.extra_generation_params)
  const unread = units.filter((_unit, index) => !(`ControlNet ${index}` in written)).length
  const mapped = units.filter(showsMap).length
  const seeds = Array.isArray(info.all_seeds) ? info.all_seeds.length : 0
  const before = typeof info.index_of_first_image === 'number' ? info.index_of_first_image : 0
  // The number of images from a script is unknown, and so is the number of maps.
  const wanted = imagesAsked(asked.parameters)
  const maps = wanted === null ? mapped : answer.imageCount - before - Math.max(seeds, wanted)
  if (unread === 0 && maps >= mapped) return null
  const sign = unread > 0 ? `it read ${units.length - unread} of ${units.length} units` : `it gave ${Math.max(0, maps)} of ${mapped} control maps`
  return {
    code: 'control_not_applied',
    message: `ControlNet seems to have failed at the server, so the picture was possibly generated without it: ${sign}. Its ` +
      'console says why. With the setting "Do not append detectmap to output" StableQueue cannot detect this.',
    field: 'alwayson_scripts.controlnet'
  }
}

/** Units whose preprocessor makes an image; the others return vectors. */
function showsMap ({ module, save_detected_map: shown }: Readonly<Record<string, unknown>>): boolean {
  return shown !== false && !/^(ip-adapter|clip|revision|insightface|instant_id|facexlib|t2ia_style)/i.test(String(module ?? ''))
}

/** The Regional Prompter notes that it is active, unless it failed. */
function undivided ({ alwayson_scripts: scripts }: A1111Parameters, info: Info): Warning | null {
  const [title, script] = Object.entries(scripts ?? {})
    .find(([title]) => title.toLowerCase() === 'regional prompter') ?? []
  const { args } = fieldsOf(script)
  if (title === undefined || !Array.isArray(args) || args[0] !== true) return null
  const active = fieldsOf(info.extra_generation_params)['RP Active']
  if (active === true || /^true$/i.test(String(active))) return null
  return {
    code: 'regions_not_applied',
    message: 'The Regional Prompter seems to have failed at the server, so the picture possibly has no regions. The server\'s console says why.',
    field: `alwayson_scripts.${title}`
  }
}

function textOrNull (value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
