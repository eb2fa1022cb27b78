import type { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../errors.ts'
import { withFloatsOf } from '../lib/exact-json.ts'
import type { Settle } from './admission.ts'
import { findControlNetModule, thresholdsOf, thresholdValue } from './controlnet-modules.ts'
import { commonUnit } from './controlnet-units.ts'
import { definedOnly, isRecord } from './field-values.ts'
import { findListed } from './model-names.ts'
import { bareName, findNamed, splitHash } from './names.ts'
import type { Inventory } from './types.ts'

type ControlNetLists = Pick<Inventory, 'controlNetModels' | 'controlNetModules' | 'controlNetUnits' | 'missing'>

/** Titles under which the extension takes its units. */
const titles = new Set(['controlnet', 'sd_forge_controlnet'])

/** The units in the parameters, as they stand there. */
export function controlNetUnitsOf (given: A1111Parameters): ReadonlyArray<Readonly<Record<string, unknown>>> {
  return Object.entries(given.alwayson_scripts ?? {}).flatMap(([title, script]) => {
    const isTheirs = titles.has(title.toLowerCase()) && isRecord(script) && Array.isArray(script.args)
    return isTheirs ? (script.args as unknown[]).filter(isRecord) : []
  })
}

/**
 * The parameters with every ControlNet unit that is switched on in the server's own words. A unit whose model is
 * missing fails inside the extension, and A1111 then answers 200 with a picture that nothing controlled; so it does
 * for units beyond the number that is set at the server.
 */
export function withControlNet (given: A1111Parameters, lists: ControlNetLists, settle: Settle): A1111Parameters {
  const always = given.alwayson_scripts
  if (always === undefined) return given
  const scripts = Object.entries(always).map(([title, script]) => {
    if (!titles.has(title.toLowerCase()) || !isRecord(script) || !Array.isArray(script.args)) return [title, script]
    const field = `alwayson_scripts.${title}.args`
    const args = script.args.flatMap((unit: unknown, index) => {
      if (!isRecord(unit) || unit.enabled === false) return [unit]
      const admitted = admitUnit(unit, `${field}.${index}`, index, lists, settle)
      return admitted === null ? [] : [withFloatsOf(unit, admitted)]
    })
    return [title, { ...script, args }]
  })
  return { ...given, alwayson_scripts: Object.fromEntries(scripts) as Record<string, unknown> }
}

/** Null for a unit that the server has no place for. */
function admitUnit (
  unit: Readonly<Record<string, unknown>>, field: string, index: number, lists: ControlNetLists, settle: Settle
): Record<string, unknown> | null {
  const most = lists.controlNetUnits ?? Infinity
  const place = settle({
    wanted: String(index + 1),
    field,
    code: 'server_capability',
    noun: 'ControlNet unit',
    find () {
      if (index < most) return index
      throw new ServiceError('server_capability', `This server accepts ${most} ControlNet units. Allow more in ` +
        'its settings under "Multi-ControlNet: ControlNet unit number".', { field })
    },
    candidates: []
  })
  if (place === null) return null
  const common = commonUnit(unit, field)
  const model = unnamed(unit.model) || lists.missing.includes('controlNetModels')
    ? {}
    : {
        model: settle({
          wanted: String(unit.model),
          field: `${field}.model`,
          code: 'model_not_found',
          noun: 'ControlNet model',
          find: () => findControlNetModel(String(unit.model), lists.controlNetModels),
          candidates: lists.controlNetModels
        }) ?? 'None'
      }
  const module = moduleOf(unit.module, field, lists, settle)
  const { a, b } = thresholdsOf(module ?? '')
  return {
    ...common,
    ...model,
    ...definedOnly<unknown>({
      module, threshold_a: thresholdValue(unit.threshold_a, a), threshold_b: thresholdValue(unit.threshold_b, b)
    })
  }
}

/** A1111 calls no preprocessor `none`, Forge `None`, and each refuses the other's word. */
function moduleOf (wanted: unknown, field: string, lists: ControlNetLists, settle: Settle): string | undefined {
  const { controlNetModules: modules, missing } = lists
  if (missing.includes('controlNetModules')) return typeof wanted === 'string' ? wanted : undefined
  const nothing = findListed('none', modules) ?? 'none'
  if (unnamed(wanted)) return nothing
  return settle({
    wanted: String(wanted),
    field: `${field}.module`,
    code: 'model_not_found',
    noun: 'ControlNet module',
    find: () => findControlNetModule(String(wanted), modules),
    candidates: modules
  }) ?? nothing
}

/** Modules are given by their label too where clients read `alias_names`, so only text that says something counts. */
function unnamed (value: unknown): boolean {
  return typeof value !== 'string' || value.trim() === '' || value.trim().toLowerCase() === 'none'
}

/**
 * With or without the hash that the extension writes behind a model's name, folder and ending; else the shortest name
 * that contains what is wanted, as A1111's extension finds it.
 */
export function findControlNetModel (wanted: string, models: readonly string[]): string | null {
  const withoutHash = (name: string) => splitHash(name, 1).name
  const plain = bareName(withoutHash(wanted))
  return findListed(wanted, models) ?? findNamed(plain, models, model => [bareName(withoutHash(model))]) ??
    models.filter(model => plain !== '' && model.toLowerCase().includes(plain.toLowerCase()))
      .toSorted((one, other) => one.length - other.length)[0] ?? null
}
