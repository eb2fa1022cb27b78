import { isIP, isIPv6 } from 'node:net'

/**
 * The guard against DNS rebinding: such an attack always carries a name of the attacker's in Host, so IP literals
 * and localhost pass, and other names only when the operator gave them.
 */
export interface HostRules {
  /** Names besides localhost, lower-case; one with a leading dot allows what is below it. */
  readonly names: readonly string[]
}

/**
 * @param publicHosts the setting PUBLIC_HOSTS
 * @param publicUrl the setting PUBLIC_URL; its name is allowed too
 * @param listenerHost the setting HOST; allowed too when it is a name
 */
export function createHostRules (
  { publicHosts, publicUrl, listenerHost }: { publicHosts: readonly string[], publicUrl: string, listenerHost: string }
): HostRules {
  const own = publicUrl === '' ? [] : [new URL(publicUrl).hostname]
  const names = [...publicHosts, ...own, listenerHost].map(name => name.trim().toLowerCase().replace(/\.$/, ''))
  return { names: names.filter(name => name !== '' && name !== '.') }
}

const nameWithPort = /^([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)\.?(?::\d{1,5})?$/
const addressWithPort = /^\[([0-9a-f:.]+)\](?::\d{1,5})?$/

/** @param hostHeaders every Host header of the request, in order; anything but exactly one is refused */
export function isAllowedHost (rules: HostRules, hostHeaders: readonly string[]): boolean {
  const [header, ...more] = hostHeaders
  if (header === undefined || more.length > 0) return false
  const text = header.toLowerCase()
  const bracketed = addressWithPort.exec(text)?.[1]
  if (bracketed !== undefined) return isIPv6(bracketed)
  const name = nameWithPort.exec(text)?.[1]
  if (name === undefined) return false
  return isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') ||
    rules.names.some(allowed => allowed.startsWith('.') ? name.endsWith(allowed) : name === allowed)
}

/** Every value of one header, as it was sent: Node keeps only the first Host of several. */
export function headerValues (rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === name) values.push(rawHeaders[index + 1] ?? '')
  }
  return values
}
