import { ApiError, sentenceOf } from '../lib/api.ts'
import { useForm } from '../lib/form.ts'
import { useEffect } from 'preact/hooks'
import { session } from '../lib/service.ts'
import { Sign } from '../parts/icon.tsx'
import { FormProblem, TextField } from '../parts/field.tsx'

/** Asks for the admin token or an access key, and exchanges it for a session cookie; the page does not store it. */
export function TokenPage ({ refusal, problem, onSignedIn }: {
  refusal: Error
  problem: string
  onSignedIn: () => void
}) {
  const form = useForm({ token: '' })
  useEffect(() => { document.title = 'Sign in – StableQueue' }, [])

  if (!(refusal instanceof ApiError && refusal.status === 401)) {
    return (
      <main class='gate'>
        <h1>StableQueue</h1>
        <p class='notice problem-notice' role='alert'>{sentenceOf(refusal)}</p>
        <button type='button' class='button primary' onClick={onSignedIn}>Try again</button>
      </main>
    )
  }

  const hasEnded = refusal.details.reason === 'session_ended'
  const send = async ({ token }: { token: string }) => {
    await session.open(token.trim())
    onSignedIn()
  }
  /** On the service's own machine the pages need no key. */
  async function leave () {
    await session.end().catch(() => {})
    onSignedIn()
  }

  return (
    <main class='gate'>
      <Sign size={48} />
      <h1>Sign in to StableQueue</h1>
      {hasEnded
        ? <p class='notice warning-notice' role='alert'>Your session has ended: your access key was changed, switched off or revoked, or you have been away for long.</p>
        : <p>Sign in with an access key to see your own jobs, or with the admin token to see everything. The token was printed when the service first started; it is also in the file <code>admin-token</code> in its data folder.</p>}
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems[''] ?? problem} />
        <TextField
          label='Admin token or access key' hint='An access key with its secret, as mk_…:secret' {...form.field('token')} type='password'
          autocomplete='current-password' required
        />
        <button class='button primary' disabled={form.busy}>Sign in</button>
      </form>
      {hasEnded && <p><button type='button' class='button quiet' onClick={leave}>Continue without a key</button></p>}
    </main>
  )
}
