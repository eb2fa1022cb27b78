import type { ServerProcess } from '../server-process.ts'
import { scriptTitles } from './scripts.ts'

/** GET /sdapi/v1/script-info: every script with the inputs that its positional arguments stand for. */
export function describeScripts ({ machine }: ServerProcess): ReadonlyArray<Record<string, unknown>> {
  return (['txt2img', 'img2img'] as const).flatMap(mode => {
    const { selectable, alwaysOn } = scriptTitles(mode, machine.settings)
    const isImg2img = mode === 'img2img'
    return [
      ...selectable.map(name => ({ name, is_alwayson: false, is_img2img: isImg2img, args: [] })),
      ...alwaysOn.map(name => ({ name, is_alwayson: true, is_img2img: isImg2img, args: [] }))
    ]
  })
}
