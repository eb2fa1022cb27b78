import { networkInterfaces } from 'node:os'

const exhausted = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'ENETDOWN', 'EAI_MEMORY', 'EAI_SYSTEM'])
/** What the other side may cause as well, unless this machine has no network at all. */
const unreachable = new Set(['ENETUNREACH', 'EAI_AGAIN'])

type Judge = (code: string, syscall: string | undefined) => boolean

/** Why this machine can open no connection, whatever it leads to: the code of the error; null for any other error. */
export function exhaustionOf (error: unknown): string | null {
  return codeThat(isExhaustion, error)
}

/**
 * Why this machine could not connect, where the fault is its own: the code of the error; null where it may be that of
 * the other side.
 * @param hasNetwork whether this machine has an address besides those of loopback
 */
export function ownFaultOf (error: unknown, hasNetwork = hasOutsideAddress): string | null {
  return codeThat((code, syscall) => isExhaustion(code, syscall) || (unreachable.has(code) && !hasNetwork()), error)
}

// EBUSY is what getaddrinfo says where it can open no file.
const isExhaustion: Judge = (code, syscall) => exhausted.has(code) || (code === 'EBUSY' && syscall === 'getaddrinfo')

function codeThat (fits: Judge, error: unknown): string | null {
  if (!(error instanceof Error)) return null
  // One for each address that was tried: that ::1 cannot be used here says nothing about 127.0.0.1.
  if (error instanceof AggregateError && error.errors.length > 0) {
    const codes = error.errors.map(one => codeThat(fits, one))
    return codes.find(code => code === null) === undefined ? codes[0] ?? null : null
  }
  const { code, syscall } = error as NodeJS.ErrnoException
  if (typeof code !== 'string') return codeThat(fits, error.cause)
  return fits(code, syscall) ? code : null
}

function hasOutsideAddress (): boolean {
  return Object.values(networkInterfaces()).some(addresses => addresses?.some(({ internal }) => !internal))
}
