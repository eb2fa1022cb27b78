import type { Form } from '../lib/form.ts'
import type { Server } from '../lib/api-types.ts'
import { CheckField, TextArea, TextField } from './field.tsx'

/** Values of `ServerAccess` for `useForm`. */
export type Access = typeof noAccess

export const noAccess = {
  username: '', password: '', bearer: '', headers: '', ca: '', anyCertificate: false, forget: false
}

/**
 * The credentials for a server, and the certificate that it can use.
 * @param props server: the stored server, if there is one
 */
export function ServerAccess ({ form, server }: { form: Pick<Form<Access>, 'field'>, server?: Server }) {
  const stored = [
    server?.has_credentials && 'a password', server?.has_bearer && 'a token', server?.has_headers && 'headers',
    server?.has_ca && 'a certificate', server?.tls_verify === false && 'no check of certificates'
  ].filter(Boolean)
  const secret = { autocomplete: 'off', autocapitalize: 'none', spellcheck: false } as const
  return (
    <>
      <details>
        <summary>{server === undefined ? 'It needs a password (--api-auth)' : `Password (--api-auth): ${server.has_credentials ? 'one is stored' : 'none'}`}</summary>
        <div class='fields'>
          <TextField label='User name' {...form.field('username')} autocomplete='off' autocapitalize='none' />
          <TextField label='Password' type='password' {...form.field('password')} autocomplete='new-password' />
        </div>
      </details>
      <details>
        <summary>It needs a token, or has its own certificate</summary>
        <div class='fields'>
          <TextField
            label='Bearer token' type='password' hint='Instead of a user name and password.'
            {...form.field('bearer')} autocomplete='new-password'
          />
          <TextArea
            label='Headers' wide rows={3} hint='One per line, for tunnels such as Cloudflare Access. They replace the former ones.'
            placeholder='CF-Access-Client-Id: …' {...form.field('headers')} {...secret}
          />
          <TextArea
            label='Certificate (PEM)' wide rows={3} hint='Its own if it is self-signed, otherwise that of its issuer.'
            placeholder='-----BEGIN CERTIFICATE-----' {...form.field('ca')} {...secret}
          />
          <CheckField
            label='Accept any certificate' hint='An attacker in between can then read and change everything.'
            {...form.field('anyCertificate')}
          />
        </div>
      </details>
      {stored.length > 0 && (
        <CheckField
          label='Forget what is stored' hint={`Stored and never shown: ${stored.join(', ')}. A new address also removes it.`}
          {...form.field('forget')}
        />
      )}
    </>
  )
}

/**
 * The fields of the API for the values of the form; empty inputs change nothing.
 * @throws Error for a line that is not a header
 */
export function accessFields (access: Access, server?: Server) {
  const { username, password, bearer, headers, ca, anyCertificate, forget } = access
  const forgotten = forget ? { username: null, bearer: null, headers: null, ca: null, tls_verify: true } : {}
  // A server uses one of these.
  const instead = bearer !== '' ? { username: null } : username !== '' ? { bearer: null } : {}
  return {
    ...forgotten,
    ...(server === undefined ? {} : instead),
    ...(username === '' && password === '' ? {} : { username, password }),
    ...(bearer === '' ? {} : { bearer }),
    ...(headers.trim() === '' ? {} : { headers: headersIn(headers) }),
    ...(ca.trim() === '' ? {} : { ca }),
    ...(anyCertificate === (server?.tls_verify === false) ? {} : { tls_verify: !anyCertificate })
  }
}

function headersIn (text: string) {
  return Object.fromEntries(text.split('\n').filter(line => line.trim() !== '').map(line => {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(colon, 0)).trim()
    if (!/^\S+$/.test(name)) throw new Error('Each line of the headers must be like "Name: value".')
    return [name, line.slice(colon + 1).trim()]
  }))
}
