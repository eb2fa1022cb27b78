import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { BulkIdParameters, BulkView } from '../../schemas/generate.ts'
import { hasEnded, type JobStatus } from '../../schemas/job.ts'
import { Ref, success } from '../../schemas/kit.ts'
import { mayCancelJob, maySeeJob } from '../../src/access/principal.ts'
import type { Job } from '../../src/jobs/job.ts'
import { ignoring, ServiceError } from '../../src/lib/errors.ts'
import { jobIds, outputUrl } from './render-job.ts'

/** A bulk as a whole: its progress, and cancelling the rest of it. */
const bulks: FastifyPluginAsyncTypebox = async app => {
  const { bulks, jobStore: store } = app

  app.get('/api/v2/generate/bulk/:bulkId', {
    config: { access: { scope: 'jobs:read', bucket: 'status' } },
    schema: {
      operationId: 'bulks.get',
      tags: ['Jobs'],
      summary: 'How far a bulk is',
      description: 'All its jobs with their states, in one call.',
      params: BulkIdParameters,
      response: { 200: { ...Ref(BulkView), description: 'The bulk.' }, ...errorResponses(404) }
    }
  }, async request => {
    const { bulkId } = request.params
    const jobs = (await bulks.jobs(bulkId)).filter(job => maySeeJob(request.principal, job.keyId))
    if (jobs.length === 0) throw new ServiceError('bulk_not_found', `There is no bulk ${bulkId}.`)
    const positions = await Promise.all(jobs.map(async job => await store.position(job)))
    return renderBulkView(bulkId, jobs, positions, request.base)
  })

  app.post('/api/v2/generate/bulk/:bulkId/cancel', {
    config: { access: { scope: 'jobs:write' } },
    schema: {
      operationId: 'bulks.cancel',
      tags: ['Jobs'],
      summary: 'Cancel what is left of a bulk',
      description: 'Finished jobs stay unchanged.',
      params: BulkIdParameters,
      response: {
        200: Type.Object({
          success,
          bulk_job_id: Type.String({ description: 'The bulk.' }),
          cancelled_jobs: Type.Integer({ description: 'Jobs that this call cancelled.' }),
          message: Type.String({ description: 'What was done.' })
        }, { description: 'Done.' }),
        ...errorResponses(403, 404)
      }
    }
  }, async request => {
    const { bulkId } = request.params
    const jobs = (await bulks.jobs(bulkId)).filter(job => mayCancelJob(request.principal, job.keyId))
    if (jobs.length === 0) throw new ServiceError('bulk_not_found', `There is no bulk ${bulkId}.`)
    let cancelled = 0
    for (const job of jobs.filter(({ status }) => !hasEnded(status))) {
      const done = await store.cancel(job.id).then(() => true, ignoring('job_operation_invalid'))
      if (done) cancelled++
    }
    return {
      success: true as const,
      bulk_job_id: bulkId,
      cancelled_jobs: cancelled,
      message: `${cancelled} of ${jobs.length} jobs cancelled; the others had finished.`
    }
  })
}

export default bulks

function renderBulkView (
  id: string, jobs: readonly Job[], positions: ReadonlyArray<number | null>, base: string
): BulkView {
  const count = (status: JobStatus) => jobs.filter(job => job.status === status).length
  const done = jobs.reduce((sum, job) => sum + (hasEnded(job.status) ? 1 : job.progress?.fraction ?? 0), 0)
  return {
    success: true,
    bulk_job_id: id,
    total_jobs: jobs.length,
    pending_jobs: count('pending'),
    processing_jobs: count('processing'),
    completed_jobs: count('completed'),
    failed_jobs: count('failed'),
    cancelled_jobs: count('cancelled'),
    progress_percentage: Math.round(done / jobs.length * 1000) / 10,
    jobs: jobs.map((job, index) => {
      const image = job.result?.images.find(({ role }) => role === 'image')
      return {
        ...jobIds(job.id),
        status: job.status,
        queue_position: positions[index] ?? null,
        preview_url: image === undefined ? null : outputUrl(image.name, base)
      }
    })
  }
}
