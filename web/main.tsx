import type { Who } from './lib/service.ts'
import { addressOf, signedOut } from './lib/api.ts'
import { useEffect, useState } from 'preact/hooks'
import { render } from 'preact'
import { connectEarly } from './lib/events.ts'
import { keepPlaces } from './lib/place.ts'
import { session } from './lib/service.ts'
import { takeToken } from './lib/token.ts'
import { Caller } from './lib/caller.ts'
import { Shell } from './parts/shell.tsx'
import { TokenPage } from './pages/token.tsx'

/** Shows the pages to users with a session, and asks others for the token. */
function App ({ problem }: { problem: string }) {
  const [who, setWho] = useState<Who | Error | undefined>(undefined)

  async function checkSession () {
    try {
      const [known] = await Promise.all([session.read(), connectEarly()])
      // The dashboard sends users without a session here.
      if (window.location.hash === '#/dashboard') window.location.replace(addressOf('/dashboard'))
      else setWho(known)
    } catch (error) {
      setWho(error instanceof Error ? error : new Error(String(error)))
    }
  }

  useEffect(() => {
    const onSignedOut = () => { checkSession() }
    checkSession()
    window.addEventListener(signedOut, onSignedOut)
    return () => window.removeEventListener(signedOut, onSignedOut)
  }, [])

  if (who === undefined) return null
  if (!(who instanceof Error)) return <Caller.Provider value={who}><Shell who={who} onSignedOut={checkSession} /></Caller.Provider>
  return <TokenPage refusal={who} problem={problem} onSignedIn={checkSession} />
}

const root = document.getElementById('app')
const problem = await takeToken()
keepPlaces()
root?.replaceChildren()
if (root !== null) render(<App problem={problem} />, root)
