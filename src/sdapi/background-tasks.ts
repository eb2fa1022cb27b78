import { mayCancelJob, mayDo, maySeeJob, type Principal } from '../access/principal.ts'
import type { DownloadService } from '../models/download-service.ts'
import type { Download } from '../models/download.ts'
import { ignoring } from '../lib/errors.ts'
import type { FlorenceService } from '../florence/service.ts'
import type { FlorenceTask } from '../florence/task.ts'
import { hasEnded, type JobStatus } from '../../schemas/job.ts'
import { proxyStates, type Shown } from './status-mapping.ts'

/**
 * Work that async-proxy calls a job, although it needs no exclusive call at a server: downloads, and questions to
 * Florence.
 */
export interface BackgroundTask extends Shown {
  /** The outcome, in words. */
  readonly info: string | null
}

export interface BackgroundTasks {
  /** Null also for a task that the principal cannot see. */
  find (principal: Principal, id: string): Promise<BackgroundTask | null>
  list (principal: Principal): Promise<BackgroundTask[]>
  /** False if there is none, or it has finished otherwise. */
  cancel (principal: Principal, id: string): Promise<boolean>
}

/** One kind of task. */
type Kind = BackgroundTasks

export function createBackgroundTasks (downloads: DownloadService, florence: FlorenceService | null): BackgroundTasks {
  const kinds = [downloadTasks(downloads), ...florence === null ? [] : [florenceTasks(florence)]]
  return {
    async find (principal, id) {
      for (const kind of kinds) {
        const found = await kind.find(principal, id)
        if (found !== null) return found
      }
      return null
    },
    list: async principal => (await Promise.all(kinds.map(async kind => await kind.list(principal)))).flat(),
    async cancel (principal, id) {
      for (const kind of kinds) if (await kind.cancel(principal, id)) return true
      return false
    }
  }
}

function downloadTasks (downloads: DownloadService): Kind {
  async function find (principal: Principal, id: string): Promise<BackgroundTask | null> {
    if (!mayDo(principal, 'models:read')) return null
    return await downloads.store.require(id).then(ofDownload, ignoring('download_not_found')) ?? null
  }

  return {
    find,
    list: async principal => mayDo(principal, 'models:read') ? (await downloads.store.list()).map(ofDownload) : [],
    async cancel (principal, id) {
      const found = mayDo(principal, 'models:write') ? await find(principal, id) : null
      if (found === null || hasEnded(found.status)) return found?.status === 'cancelled'
      await downloads.cancel(id)
      return true
    }
  }
}

function florenceTasks ({ store, cancel }: FlorenceService): Kind {
  async function find (id: string, allowed: (keyId: string | null) => boolean): Promise<FlorenceTask | null> {
    const task = await store.find(id)
    return task !== null && allowed(task.keyId) ? task : null
  }

  return {
    async find (principal, id) {
      const task = await find(id, keyId => maySeeJob(principal, keyId))
      return task === null ? null : ofTask(task)
    },
    list: async principal => (await store.list()).filter(({ keyId }) => maySeeJob(principal, keyId)).map(ofTask),
    async cancel (principal, id) {
      const task = await find(id, keyId => mayCancelJob(principal, keyId))
      return task !== null && (task.status === 'cancelled' || await cancel(id))
    }
  }
}

function ofTask ({ id, status, text, image, problem, prompt, createdAt, endedAt }: FlorenceTask): BackgroundTask {
  return {
    id,
    shortId: id,
    workflow: 'florence',
    status,
    state: status === 'processing' ? 'florence' : proxyStates[status],
    progress: hasEnded(status) ? 1 : status === 'processing' ? 0.1 : 0,
    retries: 0,
    createdAt,
    triedAt: null,
    endedAt,
    prompt,
    ip: '',
    images: image === null ? [] : [image],
    failure: problem,
    info: text
  }
}

const statuses = {
  pending: 'pending', downloading: 'processing', completed: 'completed', failed: 'failed', cancelled: 'cancelled'
} as const satisfies Record<Download['status'], JobStatus>

function ofDownload (download: Download): BackgroundTask {
  const { id, source, size, received, problem, filename, modelName, createdAt, endedAt } = download
  const status = statuses[download.status]
  const workflow = source === 'civitai' ? 'civitai-download' : 'asset-download'
  return {
    id,
    shortId: id,
    workflow,
    status,
    state: status === 'processing' ? workflow : proxyStates[status],
    progress: hasEnded(status) ? 1 : size === null || size === 0 ? 0 : received / size,
    retries: 0,
    createdAt,
    triedAt: null,
    endedAt,
    prompt: modelName,
    ip: '',
    images: [],
    failure: status === 'failed' ? problem ?? 'The download failed.' : null,
    info: status === 'completed' ? filename : problem
  }
}
