import { understood, withChanges } from '../a1111/aliases.ts'
import { without } from '../a1111/field-values.ts'
import { insertImages, replaceImages } from '../a1111/images.ts'
import { clientEcho } from '../a1111/payload.ts'
import { ServiceError } from '../lib/errors.ts'
import type { UploadTexts } from '../media/uploads.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { InputImages } from './input-images.ts'
import type { Job, JobSubmission } from './job.ts'
import { classOf, needsOf } from './needs.ts'
import type { JobStore } from './store.ts'
import type { Submitter } from './submit.ts'
import { workloadOf, type WorkPrediction } from './workload.ts'

/** Changes of what waiting jobs generate. */
export interface JobEdits {
  /**
   * Changes some parameters of a waiting job, which keeps its place.
   * @param server the only server that can run it afterwards; null for any; undefined leaves that as it is
   * @throws ServiceError as `Submitter.check`, and `job_operation_invalid` once the job runs or was changed meanwhile
   */
  edit (job: Job, changes: Readonly<Record<string, unknown>>, server?: Server | null): Promise<void>
}

export interface JobEditsDependencies {
  readonly submitter: Pick<Submitter, 'check'>
  readonly store: Pick<JobStore, 'edit'>
  readonly inputs: InputImages
  readonly uploadTexts: UploadTexts
  readonly registry: Pick<ServerRegistry, 'byId'>
  readonly work: WorkPrediction
}

export function createJobEdits (dependencies: JobEditsDependencies): JobEdits {
  const { submitter, store, inputs, uploadTexts, registry, work } = dependencies

  async function checked ({ submission, ...job }: Job, changes: Readonly<Record<string, unknown>>, target: string) {
    const { checkpoint, checkpointTitle, studio, dropIn } = submission
    const before = await insertImages(submission.parameters, async reference => uploadTexts.imageOf(reference))
    const named = checkpointTitle ?? checkpoint
    return await submitter.check({
      target,
      given: withChanges({ ...before, ...(named === null ? {} : { checkpoint_name: named }) }, changes),
      appType: submission.appType,
      source: submission.source,
      priority: job.priority,
      onMissing: submission.onMissing,
      onDifference: submission.onDifference,
      keyId: job.keyId,
      context: null,
      bulkId: job.bulkId,
      unknown: 'refuse',
      ...(dropIn === undefined ? {} : { judge: 'server', dropIn }),
      ...(studio === undefined ? {} : { studio })
    }, 0)
  }

  return {
    async edit (job, changes, server) {
      const { id, submission, run } = job
      if (job.status !== 'pending' || submission.mode === 'extras') {
        throw new ServiceError('job_operation_invalid', job.status === 'pending'
          ? `Job ${id} enlarges finished images; only jobs that generate can be changed.`
          : `Only a waiting job can be changed; job ${id} is ${job.status}.`, { job_id: id, current_status: job.status })
      }
      const targetId = server === undefined ? job.target : server?.id ?? ''
      const { normalised, compatibility, lacking } = await checked(job, changes,
        targetId === '' ? 'default' : registry.byId(targetId)?.alias ?? '')
      const parameters = await replaceImages(compatibility.parameters, inputs.keep)
      const own = { ...without(submission.clientFields ?? {}, name => understood.has(name)), ...clientEcho(changes) }
      const { clientFields: _replaced, ...kept } = submission
      const edited: JobSubmission = {
        ...kept,
        mode: normalised.mode,
        parameters,
        checkpoint: normalised.checkpoint,
        checkpointTitle: compatibility.checkpointTitle,
        anyServer: targetId === '',
        warnings: [...normalised.warnings, ...compatibility.warnings],
        ...(Object.keys(own).length === 0 ? {} : { clientFields: own })
      }
      const isDone = await store.edit(id, run, {
        target: targetId,
        jobClass: classOf(needsOf(edited, targetId, { lacking }), edited),
        workMs: await work.milliseconds(workloadOf(edited)),
        user: submission.studio?.user ?? '',
        submission: edited
      }).catch(async error => {
        await inputs.release(parameters)
        throw error
      })
      await inputs.release(isDone ? submission.parameters : parameters)
      if (isDone) return
      throw new ServiceError('job_operation_invalid',
        `Job ${id} began or was changed meanwhile; read it again.`, { job_id: id })
    }
  }
}
