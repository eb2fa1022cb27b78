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
