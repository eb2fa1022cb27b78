import { basename } from 'node:path'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Done } from '../../schemas/job.ts'
import { Closed, Ref } from '../../schemas/kit.ts'
import { ScanView, type ScanView as View } from '../../schemas/model-files.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'
import { spareFiles, type DuplicateGroup } from '../../src/models/duplicates.ts'
import type { ScanStatus } from '../../src/models/scan.ts'

const subdirectory = {
  subdirectory: Type.Optional(Type.String({ maxLength: 1024, description: 'Of older clients; without effect.' }))
}

/** Scans of the model folders: start, status, stop. */
const modelScan: FastifyPluginAsyncTypebox = async app => {
  const { scanStatus, maintenance, modelService: service } = app

  app.post('/api/v1/models/scan', {
    config: { access: { scope: 'models:write' } },
    schema: {
      operationId: 'models.scan',
      tags: ['Models'],
      summary: 'Scan the model folders',
      description: 'Runs in the background; GET returns its status. Unchanged files are skipped, so ' +
        'all folders are scanned, even if an older client names a subdirectory.',
      querystring: Type.Object(subdirectory),
      body: Type.Optional(Type.Union([Closed(subdirectory), Type.Null()], { description: 'Nothing is needed.' })),
      response: { 202: { ...Ref(ScanView), description: 'It will run, or runs already.' }, ...errorResponses(403, 409) }
    }
  }, async (_request, reply) => {
    if (service.folders.length === 0) {
      throw new ServiceError('no_model_folders',
        'No folder is set: name one in MODELS_DIR, CHECKPOINT_DIR, LORA_DIR or the like. What servers report is listed without.')
    }
    await maintenance.requestScan()
    reply.code(202)
    return view(await scanStatus.read(), await service.duplicates())
  })

  for (const path of ['/api/v1/models/scan', '/api/v1/models/scan/status']) {
    app.get(path, {
      config: { access: { scope: 'models:read' } },
      schema: {
        operationId: `models.getScan${path.endsWith('status') ? 'Status' : ''}`,
        tags: ['Models'],
        summary: 'State of the last scan',
        response: { 200: { ...Ref(ScanView), description: 'Its status.' }, ...errorResponses(403) }
      }
    }, async () => view(await scanStatus.read(), await service.duplicates()))
  }

  app.post('/api/v1/models/scan/stop', {
    config: { access: { scope: 'models:write' } },
    schema: {
      operationId: 'models.stopScan',
      tags: ['Models'],
      summary: 'Stop a scan',
      description: 'What it found until then stays.',
      response: { 200: { ...Ref(Done), description: 'Asked for.' }, ...errorResponses(403) }
    }
  }, async () => {
    const { state } = await scanStatus.read()
    if (state !== 'running' && state !== 'waiting') return { success: true as const, message: 'No scan is running.' }
    await scanStatus.requestStop()
    return { success: true as const, message: 'The scan will stop.' }
  })
}

export default modelScan

const sentences: Readonly<Record<ScanStatus['state'], string>> = {
  never: 'No scan was made yet.',
  waiting: 'A scan waits for a worker.',
  running: 'A scan is running.',
  completed: 'The scan is complete.',
  stopped: 'The scan was stopped.',
  failed: 'The scan failed.'
}

function view (
  { state, startedAt, endedAt, report, problem }: ScanStatus, duplicates: readonly DuplicateGroup[]
): View {
  const stats = report?.stats
  return {
    success: true,
    message: problem ?? sentences[state],
    state,
    phase: report?.phase ?? null,
    started_at: iso(startedAt),
    ended_at: iso(endedAt),
    cancelled: state === 'stopped',
    stats: {
      total: stats?.total ?? 0,
      added: stats?.added ?? 0,
      updated: stats?.updated ?? 0,
      skipped: stats?.skipped ?? 0,
      errors: stats?.errors ?? 0,
      deleted: stats?.deleted ?? 0,
      hashesCalculated: stats?.hashesCalculated ?? 0,
      hashErrors: stats?.hashErrors ?? 0,
      hashesSkipped: stats === undefined
        ? 0
        : Math.max(0, stats.total - stats.errors - stats.hashesCalculated - stats.hashErrors - stats.hashesWaiting),
      hashesWaiting: stats?.hashesWaiting ?? 0,
      civitaiCalls: 0,
      duplicates: {
        count: spareFiles(duplicates),
        groups: duplicates.map(({ sha256, files }) => ({
          hash: sha256, files: files.map(({ absolutePath, path }) => ({ filename: basename(absolutePath), path }))
        }))
      }
    },
    problems: [...report?.problems ?? []],
    // missing in reports of earlier versions
    broken: (report?.broken ?? []).map(file => ({ ...file })),
    unreadable_sidecars: (report?.unreadableSidecars ?? []).map(file => ({ ...file }))
  }
}
