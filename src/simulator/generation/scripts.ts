import { HttpException } from '../failures.ts'
import { scriptTitles } from '../lists/scripts.ts'
import type { ServerProcess } from '../server-process.ts'
import type { GenerationRequest, Mode } from './request.ts'

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

/** The arguments that a request has for an always-on script; none where it is not installed. */
export function argumentsOf (
  { alwayson_scripts: scripts }: GenerationRequest, title: string, installed: readonly string[]
): readonly unknown[] {
  if (!installed.some(one => one.toLowerCase() === title)) return []
  const [, script] = Object.entries(scripts).find(([name]) => name.toLowerCase() === title) ?? []
  const args: unknown = typeof script === 'object' && script !== null && 'args' in script ? script.args : []
  return Array.isArray(args) ? args : []
}

/** What ADetailer and AnimateDiff write into the infotext where they are switched on and do not fail. */
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
