import { ApiError, sentenceOf } from '../lib/api.ts'
import { useForm } from '../lib/form.ts'
import { useEffect } from 'preact/hooks'
import { session } from '../lib/service.ts'
import { keepLooking } from '../lib/keep-looking.ts'
import { Sign } from '../parts/icon.tsx'
import { FormProblem, TextField } from '../parts/field.tsx'
import { common } from '../texts/en/common.ts'

/** Asks for the admin token or an access key, and exchanges it for a session cookie; the page does not store it. */
export function TokenPage ({ refusal, problem, onSignedIn }: {
  refusal: Error
  problem: string
  onSignedIn: () => void
}) {
  const form = useForm({ token: '' })
  useEffect(() => { document.title = common.signInStableQueue }, [])

  const isAsked = refusal instanceof ApiError && refusal.status === 401
  useEffect(() => {
    if (isAsked) return
    return keepLooking(onSignedIn)
  }, [isAsked])

  if (!isAsked) {
    return (
      <main class='gate'>
        <h1>{common.stableQueue}</h1>
        <p class='notice problem-notice' role='alert'>{sentenceOf(refusal)}</p>
        <button type='button' class='button primary' onClick={onSignedIn}>{common.tryAgain}</button>
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
      <h1>{common.signInToStableQueue}</h1>
      {hasEnded
        ? <p class='notice warning-notice' role='alert'>{common.sessionHasEnded}</p>
        : <p>{common.signInWith(<code>admin-token</code>)}</p>}
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems[''] ?? problem} />
        <TextField
          label={common.tokenOrKey} hint={common.tokenOrKeyHint} {...form.field('token')} type='password'
          autocomplete='current-password' required
        />
        <button class='button primary' disabled={form.busy}>{common.signIn}</button>
      </form>
      {hasEnded && <p><button type='button' class='button quiet' onClick={leave}>{common.continueWithoutKey}</button></p>}
    </main>
  )
}
