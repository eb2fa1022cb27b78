import type { InventoryView, ServerHealth, ServerHistory, ServerView } from '../../schemas/server.ts'
import { keyToShow, type Principal } from '../../src/access/principal.ts'
import type { JobList } from '../../src/jobs/list.ts'
import { iso } from '../../src/lib/text.ts'
import type { CheckStore, StoredCheck } from '../../src/server-check/check-service.ts'
import { learnedView } from '../../src/server-check/report.ts'
import { hostAndPort } from '../../src/servers/address.ts'
import { isSimulator } from '../../src/servers/choose.ts'
import { lastAnswerOf, type Server, type ServerRegistry, type ServerState } from '../../src/servers/registry.ts'
import { onlineShare, type ServerStateStore } from '../../src/servers/state-store.ts'

export interface ServerViewsDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly list: JobList
  readonly checks: CheckStore
}

/** Why a queue waits for a check, without an operator's pause. */
const checkReason = 'A thorough check of the server is running.'

/** The same for a server that is taken out. */
const drainReason = 'It is being drained: it finishes what runs and begins nothing more.'

function reasonOf ({ draining }: Server, check: StoredCheck | null): string | null {
  if (check !== null) return checkReason
  return draining ? drainReason : null
}

/** Views of servers for clients: their last known state, and never their credentials. */
export function createServerViews ({ registry, states, list, checks }: ServerViewsDependencies) {
  /** @param keyId the access key whose jobs are counted; undefined for those of all */
  async function view (
    server: Server, state: ServerState | null, check: StoredCheck | null, keyId: string | undefined
  ): Promise<ServerView> {
    const kind = state?.traits?.simulates ?? state?.traits?.kind
    const own = { serverId: server.id, ...(keyId === undefined ? {} : { keyId }) }
    const [waiting, processing, running, learned] = await Promise.all([
      list.count({ ...own, status: 'pending' }),
      list.count({ ...own, status: 'processing' }),
      list.count({ serverId: server.id, status: 'processing' }),
      kind === undefined ? null : states.learned.read({ id: server.id, baseUrl: server.address.baseUrl, kind })
    ])
    return {
      id: server.id,
      alias: server.alias,
      apiUrl: server.address.baseUrl,
      ...hostAndPort(server.address.baseUrl),
      description: server.description,
      has_credentials: server.address.username !== undefined,
      has_bearer: server.address.bearer !== undefined,
      has_headers: server.address.headers !== undefined,
      has_ca: server.address.ca !== undefined,
      tls_verify: server.address.tlsVerify !== false,
      enabled: server.enabled,
      paused: server.paused || check !== null || server.draining,
      pause_reason: server.paused ? server.pauseReason : reasonOf(server, check),
      paused_at: iso(server.pausedAt ?? check?.askedAt ?? server.drainingAt),
      draining: server.draining,
      drained: server.draining && running === 0,
      checking: check !== null,
      job_timeout_seconds: server.jobTimeoutSeconds,
      restore_selection: server.restoreSelection,
      origin: server.origin,
      is_simulator: isSimulator(server, state),
      kind: state?.traits?.kind ?? null,
      version: state?.traits?.version ?? null,
      health: healthOf(server, state, running),
      health_since: iso(state?.since),
      checked_at: iso(state?.checkedAt),
      last_answer_at: iso(lastAnswerOf(state)),
      last_error: state?.lastError ?? null,
      loaded_checkpoint: state?.traits?.loadedCheckpoint ?? null,
      waiting,
      processing,
      learned: learned === null ? null : learnedView(learned)
    }
  }

  return {
    async one (server: Server, principal: Principal) {
      const [state, check] = await Promise.all([states.read(server.id), checks.present(server.id)])
      return await view(server, state, check, keyToShow(principal, undefined))
    },
    async all (principal: Principal) {
      const keyId = keyToShow(principal, undefined)
      const servers = registry.list()
      const ids = servers.map(({ id }) => id)
      const [known, running] = await Promise.all([states.readMany(ids), checks.presentMany(ids)])
      return await Promise.all(servers.map(async (server, index) =>
        await view(server, known[index] ?? null, running[index] ?? null, keyId)))
    },
    async history (server: Server): Promise<ServerHistory> {
      const samples = await states.history.read(server.id)
      return {
        success: true,
        server: server.alias,
        online_share: onlineShare(samples, Date.now()),
        samples: samples.map(({ at, reachable, responseMs }) =>
          ({ at: new Date(at).toISOString(), health: healthWords[reachable], response_ms: responseMs }))
      }
    },
    async inventory (server: Server): Promise<InventoryView> {
      const inventory = await states.inventory(server.id)
      return {
        server: server.alias,
        read_at: iso(inventory?.readAt),
        checkpoints: (inventory?.checkpoints ?? []).map(({ title, modelName, hash }) =>
          ({ title, name: modelName, hash })),
        samplers: (inventory?.samplers ?? []).map(({ name }) => name),
        schedulers: (inventory?.schedulers ?? []).map(({ label }) => label),
        upscalers: [...inventory?.upscalers ?? []],
        latent_upscale_modes: [...inventory?.latentUpscaleModes ?? []],
        vaes: [...inventory?.vaes ?? []],
        loras: (inventory?.loras ?? []).map(({ name }) => name),
        embeddings: [...inventory?.embeddings ?? []],
        styles: [...inventory?.styles ?? []],
        scripts: [...inventory?.scripts.txt2img ?? []],
        controlnet_models: [...inventory?.controlNetModels ?? []],
        controlnet_modules: [...inventory?.controlNetModules ?? []],
        not_offered: [...inventory?.missing ?? []]
      }
    }
  }
}

export type ServerViews = ReturnType<typeof createServerViews>

const healthWords = { yes: 'online', suspected: 'suspected', no: 'offline', unauthorized: 'unauthorized' } as const

function healthOf (server: Server, state: ServerState | null, processing: number): ServerHealth {
  if (!server.enabled) return 'disabled'
  if (state?.reachable !== 'yes') return healthWords[state?.reachable ?? 'no']
  return processing > 0 ? 'busy' : 'online'
}
