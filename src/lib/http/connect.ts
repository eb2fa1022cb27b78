import type { LookupAddress } from 'node:dns'
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext } from 'node:tls'
import type { buildConnector } from 'undici'
import { startTimer } from '../deadline.ts'

/** Where a connection is about to go. */
export interface Destination {
  /** Name or address, without brackets. */
  readonly host: string
  readonly port: number
}

/** Which certificates are trusted. */
export interface TlsTrust {
  /** With the authorities that are trusted in place of those that Node knows. */
  readonly secureContext?: SecureContext
  /** False: any certificate will do. */
  readonly rejectUnauthorized?: boolean
}

/** How connections are made. */
export interface ConnectPolicy {
  /** Milliseconds for opening a connection, the name's lookup and TLS included. */
  readonly connectTimeoutMs: number
  /**
   * The allowed addresses, or an error if there is none; absent: any. The connection gets these very addresses, so a
   * name cannot resolve to others after the check.
   */
  readonly resolve?: (destination: Destination) => Promise<readonly LookupAddress[]>
  readonly tls?: TlsTrust
  /** Called before anything else; its error prevents the connection. */
  readonly admit?: (destination: Destination) => void
}

/** undici's hook that makes a connection. */
export type Connect = buildConnector.connector

/** A dead host is noticed after about this and the kernel's ten probes, a second apart under Node. */
const keepAliveProbeMs = 15_000

/**
 * @param signal ends connecting
 * @param onConnected called with each connection before anything is written to it
 */
export function createConnect (
  policy: ConnectPolicy, signal?: AbortSignal, onConnected: (socket: Socket) => void = () => {}
): Connect {
  return ({ hostname, port, protocol, servername }, callback) => {
    const secure = protocol === 'https:'
    const destination = { host: hostname, port: Number(port) || (secure ? 443 : 80) }
    openConnection(policy, { destination, secure, servername: servername ?? hostname }, signal).then(socket => {
      onConnected(socket)
      callback(null, socket)
    }, (error: unknown) => { callback(error instanceof Error ? error : new Error(String(error)), null) })
  }
}

/** Target of a connection. */
export interface Place {
  readonly destination: Destination
  readonly secure: boolean
  readonly servername: string
}

/** @throws the error of `resolve`, or of the connection; `ETIMEDOUT` if it is not open in time */
export async function openConnection (policy: ConnectPolicy, place: Place, signal?: AbortSignal): Promise<Socket> {
  let socket: Socket | undefined
  let stopTimer = () => {}
  let abort = () => {}
  const ended = new Promise<never>((_resolve, reject) => {
    abort = () => { reject(signal?.reason) }
    signal?.addEventListener('abort', abort, { once: true })
    stopTimer = startTimer(policy.connectTimeoutMs, () => {
      reject(Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' }))
    })
    if (signal?.aborted === true) abort()
  })
  try {
    policy.admit?.(place.destination)
    // A lookup cannot be stopped, only left alone.
    const addresses = await Promise.race([policy.resolve?.(place.destination), ended])
    socket = openSocket(place, addresses, policy.tls)
    await Promise.race([connected(socket, place.secure ? 'secureConnect' : 'connect'), ended])
    return socket
  } catch (error) {
    socket?.destroy()
    throw error
  } finally {
    stopTimer()
    signal?.removeEventListener('abort', abort)
  }
}

/** A connection that is opened before its request is there, so that the request need not wait for it. */
export interface PreparedConnection {
  /**
   * The connection, for the caller alone, once it is open; null if there is none. Nothing more is opened afterwards.
   * @throws as `openConnection`
   */
  take (): Promise<Socket> | null
  close (): void
}

/**
 * A server or proxy that closes connections without a request does so after 5 s at the earliest. Ours is never that
 * old, so that no request meets a connection that is just closing.
 */
const preparedFor = 4000
/** Connections that are opened one after another for one request: for a minute in all. */
const mostPrepared = 15

/** Made once: the usual reason of an abort costs a stack trace each time. */
const unused = new Error('the prepared connection is not needed')

export function prepareConnection (policy: ConnectPolicy, place: Place): PreparedConnection {
  const stop = new AbortController()
  let opening: Promise<Socket> | null = null
  let socket: Socket | null = null
  let opened = 0
  let isConnecting = false
  let isClosed = false
  let timer: NodeJS.Timeout | undefined

  /** Also called when the other side has closed it, or has sent something although it got no request. */
  function drop (): void {
    clearTimeout(timer)
    opening = null
    socket?.destroy()
    socket = null
  }

  function open (): void {
    if (opened++ === mostPrepared) return
    isConnecting = true
    const connection = openConnection(policy, place, stop.signal).finally(() => { isConnecting = false })
    opening = connection
    connection.then(ready => {
      if (isClosed) ready.destroy()
      if (opening !== connection) return
      socket = ready
      ready.once('close', drop).on('readable', drop)
      timer = setTimeout(() => {
        drop()
        open()
      }, preparedFor)
    }).catch(() => {
      // The request opens its own, and reports why it cannot.
      if (opening === connection) opening = null
    })
  }

  open()
  return {
    take () {
      const taken = opening
      opening = null
      clearTimeout(timer)
      socket?.off('close', drop).off('readable', drop)
      socket = null
      return taken
    },
    close () {
      drop()
      isClosed = true
      if (isConnecting) stop.abort(unused)
    }
  }
}

/** A connection on which nothing is sent, so that it ends with the process that listens at its other end. */
export interface IdleConnection {
  isOpen (): boolean
  readonly ended: Promise<void>
  close (): void
}

/**
 * Opens a bare connection, without TLS: a greeting would be answered. It does not keep this process running.
 * @param signal ends connecting, and the connection later
 * @throws as `openConnection`
 */
export async function openIdleConnection (
  policy: ConnectPolicy, destination: Destination, signal?: AbortSignal
): Promise<IdleConnection> {
  const socket = await openConnection(policy, { destination, secure: false, servername: destination.host }, signal)
  const close = () => { socket.destroy() }
  const ended = new Promise<void>(resolve => {
    socket.once('close', () => {
      signal?.removeEventListener('abort', close)
      resolve()
    })
  })
  signal?.addEventListener('abort', close, { once: true })
  if (signal?.aborted === true) close()
  // Without a reader the end of the connection would not be noticed.
  socket.resume().unref()
  return { isOpen: () => !socket.destroyed && socket.readable, ended, close }
}

/** Where requests to a URL go. */
export function destinationOf ({ hostname, port, protocol }: URL): Destination {
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (protocol === 'https:' ? 443 : 80) }
}

function openSocket (
  { destination: { host, port }, secure, servername }: Place, addresses: readonly LookupAddress[] | undefined,
  trust: TlsTrust = {}
): Socket {
  if (addresses?.length === 0) throw new Error(`${host} has no address`)
  const lookup: LookupFunction = (_host, _options, answer) => { answer(null, [...addresses ?? []]) }
  const options = {
    host,
    port,
    autoSelectFamily: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveProbeMs,
    ...(addresses === undefined ? {} : { lookup })
  }
  if (!secure) return connectTcp(options)
  // An address has no server name to send; its certificate is held to the address itself.
  const name = isIP(host) === 0 ? { servername } : {}
  return connectTls({ ...options, ...trust, ...name, ALPNProtocols: ['http/1.1'] })
}

async function connected (socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once(event, () => { resolve() })
    // Stays: an error between two owners of the socket must not end the process.
    socket.on('error', reject)
    socket.once('close', () => { reject(new Error('the connection was closed at once')) })
  })
}
