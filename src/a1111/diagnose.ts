import type { TLSSocket } from 'node:tls'
import { requestBytes } from '../lib/http/bytes.ts'
import { createHttpClient } from '../lib/http/client.ts'
import { type ConnectPolicy, openConnection } from '../lib/http/connect.ts'
import { guardedHttp, type StartGuard } from './connection.ts'
import { GenerationFailure, type ServerAddress } from './types.ts'

/** The certificate that a server showed in a TLS handshake. */
interface ShownCertificate {
  /** Common name, or else the whole name, of the holder and of the authority. */
  readonly subject: string
  readonly issuer: string
  /** Names and addresses that it is for. */
  readonly names: string
  readonly validFrom: string
  readonly validTo: string
  /** The last authority that the server names; its certificate is usually not sent. */
  readonly authority: string
  /** Whether the server sends the certificate of the issuer too. */
  readonly sendsIssuer: boolean
  /** Whether the certificate links to that of its issuer, like those of public authorities. */
  readonly namesIssuer: boolean
}

/**
 * The certificate of the listening server, trusted or not; null if it does not use TLS. Nothing is sent on the
 * connection.
 */
async function lookAtCertificate (url: URL, policy: ConnectPolicy): Promise<ShownCertificate | null> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  try {
    const socket = await openConnection({ ...policy, tls: { rejectUnauthorized: false } }, {
      destination: { host, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) },
      secure: true,
      servername: host
    })
    const certificate = (socket as TLSSocket).getPeerX509Certificate()
    socket.destroy()
    let last = certificate
    while (last?.issuerCertificate !== undefined && last.issuerCertificate !== last) last = last.issuerCertificate
    return {
      authority: nameIn(last?.issuer),
      sendsIssuer: certificate?.issuerCertificate !== undefined,
      subject: nameIn(certificate?.subject),
      issuer: nameIn(certificate?.issuer),
      names: (certificate?.subjectAltName ?? nameIn(certificate?.subject)).replace(/\b(DNS|IP Address):/g, ''),
      validFrom: certificate?.validFrom ?? '',
      validTo: certificate?.validTo ?? '',
      namesIssuer: /CA Issuers/.test(certificate?.infoAccess ?? '')
    }
  } catch {
    return null
  }
}

function nameIn (text = ''): string {
  return /^CN=(.*)$/m.exec(text)?.[1] ?? text.split('\n').join(', ')
}

/** How a TLS port answers plain http: it closes at once, sends bytes that are not HTTP, or sends an error page. */
const asPlainHttpAtTls = ['not_http', 'connection_lost', 'request_rejected', 'bad_gateway']
const asTlsAtPlainHttp = ['not_https', 'connection_lost']

/** Time for a further probe, in milliseconds. */
const lookMs = 2000

/**
 * Probes the server again if its certificate or protocol can explain a failed connection, and says what to change.
 * Sends neither headers nor passwords.
 */
export async function explainFailure (
  failure: GenerationFailure, { baseUrl, ca }: ServerAddress, policy: ConnectPolicy, guard?: StartGuard
): Promise<GenerationFailure> {
  const url = new URL(baseUrl)
  const short = { ...policy, connectTimeoutMs: Math.min(policy.connectTimeoutMs, lookMs) }
  if (url.protocol === 'http:' && asPlainHttpAtTls.includes(failure.code)) {
    return await lookAtCertificate(url, short) === null
      ? failure
      : reworded(failure, 'https_expected',
        `What listens at ${url.host} speaks https, not http: change the server's address to https://${url.host}.`)
  }
  if (url.protocol === 'https:' && asTlsAtPlainHttp.includes(failure.code)) {
    return await answersPlainHttp(url, short, guard)
      ? reworded(failure, 'not_https',
        `What listens at ${url.host} speaks http, not https: change the server's address to http://${url.host}.`)
      : failure
  }
  if (!failure.code.startsWith('certificate_')) return failure
  const shown = await lookAtCertificate(url, short)
  if (shown === null) return failure
  const { subject, issuer, authority, names, validFrom, validTo, sendsIssuer, namesIssuer } = shown
  const more = (sentence: string) => reworded(failure, failure.code, `${failure.message} ${sentence}`)
  switch (failure.code) {
    case 'certificate_expired': return more(`It was valid until ${validTo}.`)
    case 'certificate_not_yet_valid': return more(`It is valid from ${validFrom}.`)
    case 'certificate_wrong_host': return more(`It is for: ${names}.`)
    case 'certificate_unverified':
    case 'certificate_unknown_issuer':
      // Private authorities seldom have intermediate ones, and public ones always link to them.
      if (!sendsIssuer && (namesIssuer || ca !== undefined)) return intermediateMissing(failure, shown, ca)
      return more(`The certificate "${subject}" was issued by "${issuer}"` +
        `${authority === issuer ? '' : `, that by "${authority}"`}.`)
    default: return more(`The certificate is "${subject}".`)
  }
}

function intermediateMissing (
  failure: GenerationFailure, { subject, issuer }: ShownCertificate, ca: string | undefined
): GenerationFailure {
  const otherwise = ca !== undefined ? ` If "${issuer}" is an authority of its own, ca has to be its certificate.` : ''
  return reworded(failure, 'certificate_intermediate_missing',
    `The server does not send the intermediate certificate "${issuer}", which issued its own ("${subject}"). Have it ` +
    `send its full chain (fullchain.pem), or set that intermediate certificate as ca of the server.${otherwise}`)
}

async function answersPlainHttp (
  { host }: URL, policy: ConnectPolicy, guard: StartGuard | undefined
): Promise<boolean> {
  const http = guardedHttp(createHttpClient({ ...policy, tls: {} }), guard)
  return await requestBytes(http, { url: new URL(`http://${host}/`), timeoutMs: lookMs, maxBytes: 1_000_000 })
    .then(() => true, () => false)
}

function reworded (failure: GenerationFailure, code: string, message: string): GenerationFailure {
  const { failureClass, mayBeRunning, cause } = failure
  const known = ['server-down', 'unauthorized'].includes(failureClass) ? failureClass : 'server-down'
  return new GenerationFailure(known, code, message, { cause, mayBeRunning })
}
