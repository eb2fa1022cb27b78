import type { ServerProcess } from '../server-process.ts'
import { scriptArguments } from './script-arguments.ts'
import { scriptTitles } from './scripts.ts'

/** Scripts that register no inputs and so do not show up here. */
const withoutInfo = ['Hypertile']

/** GET /sdapi/v1/script-info: every script with the inputs that its positional arguments stand for. */
export function describeScripts ({ machine, checkpoints }: ServerProcess): ReadonlyArray<Record<string, unknown>> {
  const checkpointTitles = checkpoints.list().map(checkpoints.title)
  return (['txt2img', 'img2img'] as const).flatMap(mode => {
    const { selectable, alwaysOn } = scriptTitles(mode, machine.settings)
    return [...selectable, ...alwaysOn].filter(name => !withoutInfo.includes(name)).map(name => ({
      name,
      is_alwayson: alwaysOn.includes(name),
      is_img2img: mode === 'img2img',
      args: scriptArguments(name, mode, checkpointTitles)
    }))
  })
}
