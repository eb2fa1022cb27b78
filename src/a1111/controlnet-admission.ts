import type { A1111Parameters } from '../../schemas/generation-parameters.ts'
import type { Settle } from './admission.ts'
import { isRecord } from './field-values.ts'
import { findListed } from './model-names.ts'
import { bareName, findNamed } from './names.ts'
import type { Inventory } from './types.ts'

type ControlNetLists = Pick<Inventory, 'controlNetModels' | 'controlNetModules' | 'missing'>

/** Titles under which the extension takes its units. */
const titles = new Set(['controlnet', 'sd_forge_controlnet'])

/**
 * The parameters with the server's own names in every ControlNet unit that is switched on. A unit whose model is
 * missing fails inside the extension, and A1111 then answers 200 with a picture that nothing controlled.
 */
export function withControlNet (given: A1111Parameters, lists: ControlNetLists, settle: Settle): A1111Parameters {
  const always = given.alwayson_scripts
  if (always === undefined) return given
  const scripts = Object.entries(always).map(([title, script]) => {
    if (!titles.has(title.toLowerCase()) || !isRecord(script) || !Array.isArray(script.args)) return [title, script]
    const field = `alwayson_scripts.${title}.args`
    const args = script.args.map((unit: unknown, index) => admitUnit(unit, `${field}.${index}`, lists, settle))
    return [title, { ...script, args }]
  })
  return { ...given, alwayson_scripts: Object.fromEntries(scripts) as Record<string, unknown> }
}

function admitUnit (unit: unknown, field: string, lists: ControlNetLists, settle: Settle): unknown {
  if (!isRecord(unit) || unit.enabled === false) return unit
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
  const module = unnamed(unit.module) || lists.missing.includes('controlNetModules')
    ? {}
    : {
        module: settle({
          wanted: String(unit.module),
          field: `${field}.module`,
          code: 'model_not_found',
          noun: 'ControlNet module',
          find: () => findListed(String(unit.module), lists.controlNetModules),
          candidates: lists.controlNetModules
        }) ?? 'none'
      }
  return { ...unit, ...model, ...module }
}

/** Modules are given by their label too where clients read `alias_names`, so only text that says something counts. */
function unnamed (value: unknown): boolean {
  return typeof value !== 'string' || value.trim() === '' || value.trim().toLowerCase() === 'none'
}

/** With or without the hash that the extension writes behind a model's name, folder and ending. */
function findControlNetModel (wanted: string, models: readonly string[]): string | null {
  const withoutHash = (name: string) => name.replace(/\s*\[[0-9a-f]+\]$/i, '')
  return findListed(wanted, models) ??
    findNamed(bareName(withoutHash(wanted)), models, model => [bareName(withoutHash(model))])
}
