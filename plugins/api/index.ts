import fp from 'fastify-plugin'
import apiKeys from './api-keys.ts'
import bulks from './bulks.ts'
import civitai from './civitai.ts'
import { compressJson } from './compress.ts'
import downloads from './downloads.ts'
import gallery from './gallery.ts'
import generate, { readParameters } from './generate.ts'
import jobActions from './job-actions.ts'
import jobInputs from './job-inputs.ts'
import jobs from './jobs.ts'
import modelActions from './model-actions.ts'
import modelDebug from './model-debug.ts'
import modelDisk from './model-disk.ts'
import modelMetadata from './model-metadata.ts'
import modelScan from './model-scan.ts'
import models, { choices, modelOwner, modelPreviews } from './models.ts'
import queue from './queue.ts'
import serverChecks from './server-checks.ts'
import servers from './servers.ts'
import settings from './settings.ts'
import webhooks from './webhooks.ts'

/** In the order of the documentation. */
const routes = [
  generate, readParameters, bulks, queue, jobs, jobActions, jobInputs, servers, serverChecks, apiKeys, webhooks,
  modelScan, models, modelActions, modelOwner, modelDisk, modelDebug, modelMetadata, modelPreviews, civitai, downloads,
  choices, gallery, settings
]

/** StableQueue's own interface. */
export default fp(async app => {
  app.addHook('onSend', compressJson)
  for (const part of routes) await app.register(part)
}, { name: 'api', fastify: '5.x', encapsulate: true, dependencies: ['core', 'job-services', 'server-services'] })
