import type { FastifyPluginAsync } from 'fastify'
import type { House } from '../../src/house.ts'
import choiceRoutes from './choices.ts'
import civitaiRoutes from './civitai.ts'
import downloadRoutes from './downloads.ts'
import modelActionRoutes from './model-actions.ts'
import modelDebugRoutes from './model-debug.ts'
import modelDiskRoutes from './model-disk.ts'
import modelMetadataRoutes from './model-metadata.ts'
import modelOwnerRoutes from './model-owner.ts'
import modelPreviewRoutes from './model-previews.ts'
import modelScanRoutes from './model-scan.ts'
import { createModelViews } from './model-views.ts'
import modelListRoutes from './models.ts'

export interface ModelRoutesOptions {
  readonly house: Pick<House, 'models' | 'registry' | 'states'>
}

/** Everything about models and what else a job may choose. */
const modelRoutes: FastifyPluginAsync<ModelRoutesOptions> = async (app, { house: { models, registry, states } }) => {
  const { catalogue, desk, board, maintenance, civitai, pictures, refresher, downloads } = models
  const views = createModelViews(registry)
  await app.register(modelScanRoutes, { board, maintenance, desk })
  await app.register(modelListRoutes, { catalogue, registry, views })
  await app.register(modelActionRoutes, { catalogue, desk, refresher, pictures, registry, states, views })
  await app.register(modelOwnerRoutes, { catalogue, desk, maintenance, views })
  await app.register(modelDiskRoutes, { catalogue, desk })
  await app.register(modelDebugRoutes, { catalogue, registry, states })
  await app.register(modelMetadataRoutes, { catalogue, refresher, views })
  await app.register(modelPreviewRoutes, { catalogue, pictures })
  await app.register(civitaiRoutes, { civitai, catalogue })
  await app.register(downloadRoutes, { downloads })
  await app.register(choiceRoutes, { registry, states })
}

export default modelRoutes
