import { BlockList, isIP, isIPv6 } from 'node:net'

/** Whether the text is an IP address, alone or with the number of bits that all addresses of its network share. */
export function isNetwork (text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  return rest.length === 0 && most > 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most))
}

/** @param networks single addresses, or networks such as 10.0.0.0/8; each must be one (`isNetwork`) */
export function networkList (networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    list.addSubnet(address, Number(bits ?? (family === 'ipv6' ? 128 : 32)), family)
  }
  return list
}

/** Answers of `contains`: each request asks several times for one of few addresses, and a list costs 5 µs. */
const answers = new WeakMap<BlockList, Map<string, boolean>>()
const mostAnswers = 1000

/** IPv4 networks contain IPv4-mapped IPv6 addresses too. A text that is no address is in no network. */
export function contains (list: BlockList, address: string | undefined): boolean {
  if (address === undefined) return false
  const known = answers.get(list) ?? new Map<string, boolean>()
  const answer = known.get(address) ?? (isIP(address) !== 0 && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'))
  if (known.size >= mostAnswers) known.clear()
  known.set(address, answer)
  answers.set(list, known)
  return answer
}

/** The IPv4 address inside an IPv4-mapped IPv6 one, in either spelling; any other address as it is, without zone. */
export function unmapped (address: string): string {
  const plain = address.split('%')[0] ?? ''
  if (!isIPv6(plain)) return plain
  const canonical = canonicalIPv6(plain)
  const [, high, low] = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(canonical) ?? []
  if (high === undefined || low === undefined) return canonical
  return dotted(Number.parseInt(high, 16), Number.parseInt(low, 16))
}

/** The eight numbers of 16 bits that an IPv6 address, without zone, consists of. */
export function groupsOf (address: string): number[] {
  const [head = '', tail] = canonicalIPv6(address).split('::')
  const [before, after] = [head, tail ?? ''].map(part => part === '' ? [] : part.split(':'))
  const zeros = Array<string>(8 - (before?.length ?? 0) - (after?.length ?? 0)).fill('0')
  return [...before ?? [], ...zeros, ...after ?? []].map(group => Number.parseInt(group, 16))
}

/** An IPv4 address, from its two halves of 16 bits. */
export function dotted (high: number, low: number): string {
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

/** A URL has one spelling for each address. */
function canonicalIPv6 (address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1)
}

const loopback = networkList(['127.0.0.0/8', '::1/128'])

export function isLoopback (address: string | undefined): boolean {
  return contains(loopback, address)
}
