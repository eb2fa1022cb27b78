/**
 * Every Redis key of the service, in one place. All share one hash tag, so that scripts and transactions can touch any
 * of them together, on a cluster too.
 */
export interface Keys {
  /** BullMQ's prefix of its own keys. */
  readonly bullPrefix: string
  /** Pub/sub channel for short notices between processes (cancel, server changes, key revocation). */
  readonly channel: (name: ChannelName) => string
  /** Any other key, its parts joined by colons. */
  readonly key: (...parts: Array<string | number>) => string
}

export type ChannelName = 'pool' | 'previews' | 'preview-wishes' | 'jobs' | 'cancel' | 'given' | 'taken' |
  'servers' | 'access-keys' | 'webhooks' | 'settings' | 'turns' | 'turns-granted' | 'checks' | 'leases'

/** @param prefix the setting REDIS_PREFIX */
export function createKeys (prefix: string): Keys {
  const tag = `{${prefix}}`
  return {
    bullPrefix: `${tag}:bull`,
    channel: name => `${tag}:channel:${name}`,
    key: (...parts) => `${tag}:${parts.join(':')}`
  }
}
