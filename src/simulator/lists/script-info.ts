import type { ServerProcess } from '../server-process.ts'
import { scriptArguments, type ScriptChoices } from './script-arguments.ts'
import { scriptTitles } from './scripts.ts'
import { upscalersOf } from './upscalers.ts'

/** Scripts that register no inputs and so do not show up here. */
const withoutInfo = ['Hypertile']

/** What the inputs of scripts offer at this server. */
export function choicesOf ({ machine, checkpoints, lists }: ServerProcess): ScriptChoices {
  const { family } = machine.settings
  return {
    family,
    checkpoints: checkpoints.list().map(checkpoints.title),
    samplers: lists.samplers.map(one => one.name),
    schedulers: lists.schedulers.map(one => one.label),
    upscalers: upscalersOf(family).map(one => one.name)
  }
}

/** GET /sdapi/v1/script-info: every script with the inputs that its positional arguments stand for. */
export function describeScripts (server: ServerProcess): ReadonlyArray<Record<string, unknown>> {
  const { machine } = server
  const choices = choicesOf(server)
  return (['txt2img', 'img2img'] as const).flatMap(mode => {
    const { selectable, alwaysOn } = scriptTitles(mode, machine.settings)
    return [...selectable, ...alwaysOn].filter(name => !withoutInfo.includes(name)).map(name => ({
      name,
      is_alwayson: alwaysOn.includes(name),
      is_img2img: mode === 'img2img',
      args: scriptArguments(name, mode, choices)
    }))
  })
}
