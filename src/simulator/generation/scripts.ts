import type { GenerationRequest, Mode } from '../../a1111/request-model.ts'
import { HttpException, missingArguments } from '../../fastapi/errors.ts'
import { choicesOf, scriptArguments, scriptTitles } from '../lists/scripts.ts'
import type { ServerProcess } from '../server-process.ts'

/**
 * Checks the scripts that a request names: the selectable one by title in any case, always-on ones likewise.
 *
 * @throws HttpException 422 for one that is not there or not of the right kind
 */
export function checkScripts ({ machine }: ServerProcess, request: GenerationRequest, mode: Mode): void {
  const { selectable, alwaysOn } = scriptTitles(mode, machine.settings)
  const has = (titles: readonly string[], wanted: string): boolean =>
    titles.some(title => title.toLowerCase() === wanted.toLowerCase())

  if (request.script_name && !has(selectable, request.script_name)) {
    throw new HttpException(422, `Script '${request.script_name}' not found`)
  }
  for (const title of Object.keys(request.alwayson_scripts)) {
    if (has(alwaysOn, title)) continue
    if (has(selectable, title)) {
      throw new HttpException(422, 'Cannot have a selectable script in the always on scripts params')
    }
    throw new HttpException(422, `Script '${title}' not found`)
  }
}

/** How Python calls the arguments of the plot, the last script of all. */
const plotArguments = [
  ...['x', 'y', 'z'].flatMap(axis => [`${axis}_type`, `${axis}_values`, `${axis}_values_dropdown`]),
  'draw_legend', 'include_lone_images', 'include_sub_grids', 'no_fixed_seeds', 'vary_seeds_x', 'vary_seeds_y',
  'vary_seeds_z', 'margin_size', 'csv_mode'
]

/**
 * The arguments of a selectable script at Forge. A request's arguments replace the script's defaults in the list of
 * those of all scripts: if they are fewer, the next script's move up, and behind the last is nothing.
 *
 * @throws PythonError if there are too few
 */
export function selectedArguments (server: ServerProcess, request: GenerationRequest, mode: Mode): unknown[] {
  const { family } = server.machine.settings
  const { selectable } = scriptTitles(mode, server.machine.settings)
  const place = selectable.findIndex(title => title.toLowerCase() === request.script_name?.toLowerCase())
  if (family !== 'forge' || place === -1) return request.script_args
  const choices = choicesOf(server)
  const [own = [], ...later] = selectable.slice(place).map(title => scriptArguments(title, mode, choices))
  const args = [...request.script_args, ...later.flat().map(({ value }) => value)].slice(0, own.length)
  if (args.length < own.length) throw missingArguments('Script.run', plotArguments.slice(args.length))
  return args
}

/** The arguments that a request has for an always-on script; none if it is not installed. */
export function argumentsOf (
  { alwayson_scripts: scripts }: GenerationRequest, title: string, installed: readonly string[]
): readonly unknown[] {
  if (!installed.some(one => one.toLowerCase() === title)) return []
  const [, script] = Object.entries(scripts).find(([name]) => name.toLowerCase() === title) ?? []
  const args: unknown = typeof script === 'object' && script !== null && 'args' in script ? script.args : []
  return Array.isArray(args) ? args : []
}

/** Infotext entries of ADetailer and AnimateDiff if they are switched on and do not fail. */
export function tracesOf (
  request: GenerationRequest, { scripts }: ServerProcess['machine']['settings'], fails: boolean
): Record<string, unknown> {
  if (fails) return {}
  const detailer = argumentsOf(request, 'adetailer', scripts)
  const models = detailer[0] === false
    ? []
    : detailer.flatMap(unit => typeof unit === 'object' && unit !== null && 'ad_model' in unit ? [unit.ad_model] : [])
  const [animation] = argumentsOf(request, 'animatediff', scripts)
  return {
    ...Object.fromEntries(models.map((model, index) => [`ADetailer model${index === 0 ? '' : ` ${index + 1}`}`, model])),
    ...typeof animation === 'object' && animation !== null ? { AnimateDiff: 'enable: True' } : {}
  }
}
