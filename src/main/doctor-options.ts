import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DoctorOptions } from '../commands/program.ts'
import { authorizationOf } from '../commands/service.ts'
import type { Config } from '../config/settings.ts'
import type { ThoroughOptions } from './doctor-thorough.ts'
import { UsageError } from '../lib/errors.ts'

const maxMinutes = 30

/**
 * Options of a thorough check; null without one.
 * @throws UsageError
 */
export function readDoctorOptions (values: DoctorOptions, config: Config): Promise<ThoroughOptions> | null {
  const { thorough, server, checkpoint, minutes, service = '', key, token } = values
  if (thorough !== true) {
    const [lone] = Object.entries(values).filter(([name, value]) => name !== 'json' && value !== undefined)
    if (lone === undefined) return null
    throw new UsageError(`--${lone[0]} needs --thorough.`)
  }
  if (!server) throw new UsageError('--server is missing: the alias or address of the server to check.')
  if (key !== undefined && token !== undefined) throw new UsageError('Give --key or --token, not both.')
  if (key?.includes(':') === false) throw new UsageError('--key must be an access key and its secret: mk_…:secret.')
  const wanted = minutes === undefined ? null : Number(minutes)
  if (wanted !== null && !(wanted > 0 && wanted <= maxMinutes)) {
    throw new UsageError(`--minutes must be a number above 0 and at most ${maxMinutes}.`)
  }
  return credentialOf({ key, token, service }, config).then(credential => ({
    server, checkpoint: checkpoint ?? null, minutes: wanted, service, authorization: authorizationOf(credential)
  }))
}

/** The token of the settings is for the service of the settings; another one gets only an explicit token. */
async function credentialOf (
  { key, token, service }: Pick<DoctorOptions, 'key' | 'token' | 'service'>, config: Config
): Promise<Pick<DoctorOptions, 'key' | 'token'>> {
  if (key !== undefined) return { key }
  const own = service === '' ? config.ADMIN_TOKEN || config.AUTH_TOKEN || await storedToken(config) : ''
  const known = token ?? own
  return { token: known === '' ? undefined : known }
}

async function storedToken ({ DATA_DIR: folder }: Config): Promise<string> {
  return await readFile(join(folder, 'admin-token'), 'utf8').then(text => text.trim(), () => '')
}
