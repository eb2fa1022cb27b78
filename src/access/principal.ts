import { type Scope, scopes as knownScopes } from '../../schemas/api-key.ts'
import { ServiceError } from '../lib/errors.ts'

/** How the drop-in `/sdapi/v1` treats the holder of an access key, whose client cannot be changed to send it. */
export interface DropInPreferences {
  /** `wait` answers as A1111 does, once the images are there; `async` answers 202 at once. */
  readonly answer: 'wait' | 'async'
  /** Fate of a job whose client disconnects. */
  readonly onHangUp: 'continue' | 'cancel'
  /** Alias of the server for the jobs; null for the best one. */
  readonly server: string | null
  /** `true` sends status and job id as soon as a job is accepted, if the setting SDAPI_EARLY_JOB_ID allows it. */
  readonly earlyJobId: boolean
}

export const defaultDropIn: DropInPreferences = { answer: 'wait', onHangUp: 'continue', server: null, earlyJobId: false }

export type { Scope }

/** The sender of a request, and its rights. */
export interface Principal {
  /**
   * `local`: at this machine, or in a network of UI_TRUSTED_CIDRS. `token`: sent AUTH_TOKEN or ADMIN_TOKEN.
   * `session`: of the web UI, opened with such a token or, if it has a `keyId`, with an access key.
   */
  readonly kind: 'key' | 'token' | 'local' | 'session' | 'anonymous'
  /** Id of the access key; jobs belong to it. Null for all others. */
  readonly keyId: string | null
  /** How often the key's secret had been replaced; its streams and sessions end when it is replaced again. */
  readonly rotations: number
  readonly name: string
  readonly scopes: ReadonlySet<Scope>
  /** Requests a minute; null for no limit. */
  readonly ratePerMinute: number | null
  readonly dropIn: DropInPreferences
}

/** Default scopes of a new key: everything that concerns its own jobs. */
export const defaultScopes: readonly Scope[] = ['jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read']

export function isScope (text: string): text is Scope {
  return knownScopes.some(scope => scope === text)
}

/** The name under which a client's quotas are counted: the access key's, else the address'. */
export function quotaOwner ({ principal, ip }: { readonly principal: Principal, readonly ip: string }): string {
  return principal.keyId === null ? `address ${ip}` : `key ${principal.keyId}`
}

const everything: ReadonlySet<Scope> = new Set<Scope>(['*'])

export const anonymous: Principal = Object.freeze<Principal>({
  kind: 'anonymous',
  keyId: null,
  rotations: 0,
  name: 'anonymous',
  scopes: new Set<Scope>(),
  ratePerMinute: null,
  dropIn: defaultDropIn
})

/** A principal with full rights that is no access key. */
export function administrator (kind: 'token' | 'local' | 'session'): Principal {
  return { kind, keyId: null, rotations: 0, name: kind, scopes: everything, ratePerMinute: null, dropIn: defaultDropIn }
}

export function mayDo (principal: Principal, scope: Scope): boolean {
  return principal.scopes.has('*') || principal.scopes.has(scope)
}

/** True if the principal holds all of these scopes itself, so that it can grant them or manage their holders. */
export function holdsAll (principal: Principal, scopes: readonly Scope[]): boolean {
  return scopes.every(scope => mayDo(principal, scope))
}

/**
 * For routes that return images among other data. The answer to a client's own generation does not need it.
 * @throws ServiceError `permission_denied`
 */
export function requireImages (principal: Principal): void {
  if (mayDo(principal, 'images:read')) return
  throw new ServiceError('permission_denied',
    `Images need the scope images:read, which ${principal.name} does not have`, { scope: 'images:read' })
}

export function seesAllJobs (principal: Principal): boolean {
  return mayDo(principal, 'jobs:read:all')
}

/**
 * Whether a job can be shown; a hidden one is answered as not found, so that ids reveal nothing.
 * @param owner id of the access key that submitted the job, or null
 */
export function maySeeJob (principal: Principal, owner: string | null): boolean {
  return seesAllJobs(principal) || isOwnJob(principal, owner)
}

/**
 * The key whose jobs are shown; undefined for those of all.
 * @param asked id of the key that the client names
 * @throws ServiceError `permission_denied` for another's key
 */
export function keyToShow (principal: Principal, asked: string | undefined): string | undefined {
  return keyWithin(principal, asked, { scope: 'jobs:read:all', field: 'key' })
}

/** The key whose jobs are acted on, as `keyToShow`. */
export function keyToActOn (principal: Principal, asked: string | undefined, field: string): string | undefined {
  return keyWithin(principal, asked, { scope: 'jobs:cancel:all', field })
}

function keyWithin (
  principal: Principal, asked: string | undefined, { scope, field }: { readonly scope: Scope, readonly field: string }
): string | undefined {
  if (mayDo(principal, scope)) return asked
  const own = principal.keyId ?? ''
  if (asked === undefined || asked === own) return own
  throw new ServiceError('permission_denied', `The jobs of another key need the scope ${scope}.`, { field })
}

/** @param owner id of the access key that submitted the job, or null */
export function mayCancelJob (principal: Principal, owner: string | null): boolean {
  return mayDo(principal, 'jobs:cancel:all') || isOwnJob(principal, owner)
}

function isOwnJob (principal: Principal, owner: string | null): boolean {
  return principal.keyId !== null && principal.keyId === owner
}
