import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import { readOrCreateSecretFile } from './secret-file.ts'

export interface AdminToken {
  readonly token: string
  /** Where it is kept, or null when the setting ADMIN_TOKEN gives it. */
  readonly file: string | null
  /** True on the one start that made it. */
  readonly created: boolean
}

export interface AdminTokenSettings {
  readonly ADMIN_TOKEN: string
  readonly DATA_DIR: string
}

/** The admin token of the settings, or of DATA_DIR/admin-token, which is made on the first start. */
export async function loadAdminToken (settings: AdminTokenSettings): Promise<AdminToken> {
  if (settings.ADMIN_TOKEN !== '') return { token: settings.ADMIN_TOKEN, file: null, created: false }
  const file = join(settings.DATA_DIR, 'admin-token')
  const { value, created } = await readOrCreateSecretFile(file, () => randomBytes(32).toString('base64url'))
  return { token: value, file, created }
}

/**
 * What to tell the operator at start. The token itself is told only when it was just made, as a link whose
 * fragment stays in the browser: it reaches no server, proxy or access log.
 * @param address the service's own address, such as http://192.168.1.20:3000
 */
export function adminTokenNotice ({ token, file, created }: AdminToken, address: string): string {
  if (file === null) return `Web UI: ${address}/ asks for the token of ADMIN_TOKEN`
  return created
    ? `Web UI: ${address}/#token=${token} (shown only once; the token is kept in ${file})`
    : `Web UI: ${address}/ asks for the token kept in ${file}`
}

/** True when the text equals one of the tokens, in a time that tells nothing about them. Empty tokens never match. */
export function matchesToken (tokens: readonly string[], text: string): boolean {
  const given = digest(text)
  return tokens.reduce((found, token) => (timingSafeEqual(digest(token), given) && token !== '') || found, false)
}

function digest (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
