import { freemem, totalmem } from 'node:os'
import { noteFloat } from '../../lib/exact-json.ts'
import { forgeStyles, promptStyles } from '../generation/styles.ts'
import { listLoras, listManyLoras } from '../lists/loras.ts'
import { controlNetExtension, embeddings, modules, regionalPrompterExtension, vaes } from '../lists/files.ts'
import { scriptTitles } from '../lists/scripts.ts'
import { describeScripts } from '../lists/script-info.ts'
import { faceRestorers, latentUpscaleModes, realEsrganModels, upscalersOf } from '../lists/upscalers.ts'
import type { ServerProcess } from '../server-process.ts'
import { createAnswer, get, post, type Route } from './route.ts'

/** Everything that a client can list. */
export function listRoutes (server: ServerProcess): Route[] {
  const { machine, lists, checkpoints } = server
  const isForge = machine.settings.family === 'forge'
  const list = (name: string, content: () => unknown): Route => get(`/sdapi/v1/${name}`, content)
  const names = (mode: 'txt2img' | 'img2img'): string[] => {
    const { selectable, alwaysOn } = scriptTitles(mode, machine.settings)
    return [...selectable, ...alwaysOn]
  }

  return [
    list('samplers', () => lists.samplers),
    list('schedulers', () => lists.schedulers.map(one => withFloats(one, 'default_rho'))),
    list('upscalers', () => upscalersOf(machine.settings.family).map(one => withFloats(one, 'scale'))),
    list('latent-upscale-modes', () => latentUpscaleModes.map(name => ({ name }))),
    list('sd-models', () => checkpoints.describe()),
    isForge ? list('sd-modules', () => modules) : list('sd-vae', () => vaes),
    list('hypernetworks', () => []),
    list('face-restorers', () => faceRestorers),
    list('realesrgan-models', () => realEsrganModels),
    list('prompt-styles', () => isForge ? forgeStyles : promptStyles),
    list('embeddings', () => embeddings),
    list('scripts', () => ({ txt2img: names('txt2img'), img2img: names('img2img') })),
    list('script-info', () => describeScripts(server)),
    list('extensions', () => [
      // Forge's own ControlNet has no repository of its own
      ...machine.settings.controlNet && !isForge ? [controlNetExtension] : [],
      ...machine.settings.regionalPrompter ? [regionalPrompterExtension] : []
    ]),
    list('memory', () => machine.settings.cuda ? memory() : { ...memory(), cuda: { error: 'unavailable' } }),
    // the Lora extension registers these two itself, as coroutines and without auth
    get('/sdapi/v1/loras', () => machine.settings.manyLoras === null
      ? listLoras(machine.disk.seenLoras)
      : createAnswer(200, 'application/json', listManyLoras(machine.settings.manyLoras)), { access: 'open', runsIn: 'loop' }),
    post('/sdapi/v1/refresh-loras', () => {
      machine.disk.seenLoras = machine.disk.loras
      return null
    }, { access: 'open', runsIn: 'loop' })
  ]
}

const gibibyte = 1024 ** 3

/** The copy, in which this number is a float. */
function withFloats<Entry extends object> (entry: Entry, name: keyof Entry & string): Entry {
  const copy = { ...entry }
  noteFloat(copy, name)
  return copy
}

function memory (): Record<string, unknown> {
  const usage = (current: number, peak: number): Record<string, number> => ({ current, peak })
  return {
    ram: { free: freemem(), used: process.memoryUsage.rss(), total: totalmem() },
    cuda: {
      system: { free: 5 * gibibyte, used: 3 * gibibyte, total: 8 * gibibyte },
      active: usage(2.2 * gibibyte, 3.1 * gibibyte),
      allocated: usage(2.2 * gibibyte, 3.1 * gibibyte),
      reserved: usage(2.6 * gibibyte, 3.6 * gibibyte),
      inactive: usage(0.1 * gibibyte, 0.4 * gibibyte),
      events: { retries: 0, oom: 0 }
    }
  }
}
