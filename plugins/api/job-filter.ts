import type { JobFilterFields } from '../../schemas/job.ts'
import { ServiceError } from '../../src/errors.ts'
import type { JobFilter } from '../../src/jobs/list.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import { momentOf } from './moment.ts'

/**
 * Which jobs a list or an action means.
 * @param key id of the access key whose jobs the caller may reach; undefined for those of all
 * @param place where the fields stand, for errors, such as `filter.`
 * @throws ServiceError `server_not_found` or `invalid_field_value`, naming the field
 */
export function readJobFilter (
  fields: JobFilterFields, key: string | undefined, registry: Pick<ServerRegistry, 'require'>, place = ''
): JobFilter {
  const { status, user, app_type: appType, since, before, search } = fields
  const server = serverOf(fields, registry, place)
  return {
    ...(key === undefined ? {} : { keyId: key }),
    ...(server === undefined ? {} : { serverId: server }),
    ...(status === undefined ? {} : { status }),
    ...(user === undefined ? {} : { user: user.normalize('NFC').trim() }),
    ...(appType === undefined ? {} : { appType }),
    ...(since === undefined ? {} : { since: momentOf(`${place}since`, since) }),
    ...(before === undefined ? {} : { before: momentOf(`${place}before`, before) }),
    ...(search === undefined ? {} : { text: search })
  }
}

/** The id of the server under either of its names. */
function serverOf (
  { server, target_server_alias: target }: JobFilterFields, registry: Pick<ServerRegistry, 'require'>, place: string
): string | undefined {
  const one = server === undefined ? undefined : registry.require(server, `${place}server`).id
  const other = target === undefined ? undefined : registry.require(target, `${place}target_server_alias`).id
  if (one !== undefined && other !== undefined && one !== other) {
    throw new ServiceError('invalid_field_value', `${place}server and ${place}target_server_alias name two servers.`,
      { field: `${place}target_server_alias` })
  }
  return one ?? other
}
