import type { Form } from '../lib/form.ts'
import type { Server } from '../lib/api-types.ts'
import { CheckField, TextArea, TextField } from './field.tsx'
import { t } from '../texts/en/servers.ts'

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
    server?.has_credentials && t.aPassword, server?.has_bearer && t.aToken, server?.has_headers && t.headersStored,
    server?.has_ca && t.aCertificate, server?.tls_verify === false && t.noCheckOfCertificates
  ].filter(Boolean)
  const secret = { autocomplete: 'off', autocapitalize: 'none', spellcheck: false } as const
  return (
    <>
      <details>
        <summary>{server === undefined ? t.itNeedsPasswordApi : server.has_credentials ? t.passwordIsStored : t.passwordIsNot}</summary>
        <div class='fields'>
          <TextField label={t.userName} {...form.field('username')} autocomplete='off' autocapitalize='none' />
          <TextField label={t.password} type='password' {...form.field('password')} autocomplete='new-password' />
        </div>
      </details>
      <details>
        <summary>{t.itNeedsTokenOr}</summary>
        <div class='fields'>
          <TextField
            label={t.bearerToken} type='password' hint={t.insteadOfUserName}
            {...form.field('bearer')} autocomplete='new-password'
          />
          <TextArea
            label={t.headers} wide rows={3} hint={t.headersHint}
            placeholder={t.exampleHeader} {...form.field('headers')} {...secret}
          />
          <TextArea
            label={t.certificatePem} wide rows={3} hint={t.certificateHint}
            placeholder={t.exampleCertificate} {...form.field('ca')} {...secret}
          />
          <CheckField
            label={t.acceptAnyCertificate} hint={t.anyCertificateHint}
            {...form.field('anyCertificate')}
          />
        </div>
      </details>
      {stored.length > 0 && (
        <CheckField
          label={t.forgetWhatIsStored} hint={t.storedAndNeverShown(stored.join(', '))}
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
    if (!/^\S+$/.test(name)) throw new Error(t.headersAreWrong)
    return [name, line.slice(colon + 1).trim()]
  }))
}
