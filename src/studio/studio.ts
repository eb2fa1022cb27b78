import type { House } from '../house.ts'
import { removeJob } from '../jobs/remove.ts'
import type { Submitter } from '../jobs/submit.ts'
import { imageLimits } from '../media/images.ts'
import type { DropIn } from '../sdapi/drop-in.ts'
import { createControlNetDesk, type ControlNetDesk } from './controlnet-desk.ts'
import { createGenerations, type Generations } from './generate.ts'
import { createHistory, type History } from './history.ts'
import { createKeptImages, type KeptImages } from './kept-images.ts'
import { createLoraNotes } from './lora-notes.ts'
import { createLoraShelf, type LoraShelf } from './lora-shelf.ts'
import { createPictures, type Pictures } from './pictures.ts'
import { createUserRules, type UserRules } from './rules.ts'
import { createStudioSessions, type Sessions } from './sessions.ts'

/** What stands behind the routes for bots and phones. */
export interface Studio {
  readonly house: House
  readonly sessions: Sessions
  readonly history: History
  readonly rules: UserRules
  readonly pictures: Pictures
  readonly keptImages: KeptImages
  readonly generations: Generations
  readonly controlNet: ControlNetDesk
  readonly loras: LoraShelf
  readonly removeJob: (jobId: string) => Promise<void>
}

export function createStudio (
  house: House, submitter: Submitter, { faces, passThrough }: Pick<DropIn, 'faces' | 'passThrough'>
): Studio {
  const { redis, keys, store, media, inputs, uploadTexts: texts, config, registry, states, models, connect } = house
  const keptImages = createKeptImages(inputs, texts)
  const sessions = createStudioSessions({ redis, keys, images: keptImages })
  const history = createHistory(redis, keys, store)
  const rules = createUserRules(redis, keys, config)
  const pictures = createPictures({ media, texts, limits: imageLimits(config) })
  return {
    house,
    sessions,
    history,
    rules,
    pictures,
    keptImages,
    generations: createGenerations({ house, submitter, sessions, history, rules, pictures }),
    controlNet: createControlNetDesk({ registry, states, faces, passThrough }),
    loras: createLoraShelf({ models, notes: createLoraNotes(redis, keys), registry, states, connect }),
    removeJob: async jobId => { await removeJob(jobId, { store, media, inputs }) }
  }
}
