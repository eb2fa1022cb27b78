import type { TLSSocket } from 'node:tls'
import { openConnection, type ConnectPolicy } from './connect.ts'

/** What a server showed when it was greeted by TLS. */
export interface ShownCertificate {
  /** Common name, or all that is said, of the holder and of the authority. */
  readonly subject: string
  readonly issuer: string
  /** Names and addresses that it is for. */
  readonly names: string
  readonly validFrom: string
  readonly validTo: string
  /** The last authority that the server names, which is not sent itself as a rule. */
  readonly authority: string
  /** Whether the server sends the certificate of the issuer too. */
  readonly sendsIssuer: boolean
  /** Whether the certificate says where that of its issuer can be had, as those of public authorities do. */
  readonly namesIssuer: boolean
}

/**
 * The certificate of whatever listens there, whether it is to be trusted or not; null where no TLS is spoken. Nothing
 * is sent on the connection.
 */
export async function lookAtCertificate (url: URL, policy: ConnectPolicy): Promise<ShownCertificate | null> {
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
