import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { isRecord } from './field-values.ts'
import { fieldsOf, objectOf, textsOf } from './json-values.ts'

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
 * Always-on scripts that note that they ran. A1111 reports what a script trips over to its console only, and answers
 * with the picture that came without it. Scripts that write nothing cannot be told.
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
export function silentScripts (parameters: A1111Parameters, info: Readonly<Record<string, unknown>>): Warning[] {
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
