import type { TSchema } from '@sinclair/typebox'
import * as a1111 from './a1111.ts'
import * as apiKey from './api-key.ts'
import * as botsExtensions from './bots-extensions.ts'
import * as botsGeneration from './bots-generation.ts'
import * as botsJob from './bots-job.ts'
import * as botsSettings from './bots-settings.ts'
import * as download from './download.ts'
import * as error from './error.ts'
import * as event from './event.ts'
import * as gallery from './gallery.ts'
import * as generate from './generate.ts'
import * as generationParameters from './generation-parameters.ts'
import * as job from './job.ts'
import * as modelCivitai from './model-civitai.ts'
import * as modelFiles from './model-files.ts'
import * as model from './model.ts'
import * as openai from './openai.ts'
import * as queue from './queue.ts'
import * as serverCheck from './server-check.ts'
import * as server from './server.ts'
import * as session from './session.ts'
import * as settings from './settings.ts'
import * as webhook from './webhook.ts'

const files: readonly object[] = [
  a1111, apiKey, botsExtensions, botsGeneration, botsJob, botsSettings, download, error, event, gallery, generate,
  generationParameters, job, modelCivitai, modelFiles, model, openai, queue, serverCheck, server, session, settings,
  webhook
]

/** Every exported schema with an `$id`: routes refer to it by that name, and the documentation has it once. */
export const namedSchemas: readonly TSchema[] = files.flatMap(file => Object.values(file)).filter(hasName)

function hasName (value: unknown): value is TSchema {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, '$id') === 'string'
}
