import { HttpException } from '../failures.ts'

/**
 * A1111's --api-auth: Basic only, one or more `user:password` pairs separated by commas.
 *
 * @throws HttpException 401 in one of its three wordings
 */
export function checkAuth (auth: string | null, header: string | undefined): void {
  if (auth === null) return
  const match = /^basic(?:\s+(\S.*))?$/i.exec(header?.trim() ?? '')
  if (match === null) throw new HttpException(401, 'Not authenticated')
  const pair = Buffer.from(match[1] ?? '', 'base64').toString('latin1')
  if (!pair.includes(':')) throw new HttpException(401, 'Invalid authentication credentials')
  if (!auth.split(',').includes(pair)) throw new HttpException(401, 'Incorrect username or password')
}
