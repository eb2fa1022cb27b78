import { addressOf, signedOut } from './lib/api.js'
import { html, render, useEffect, useState } from './lib/html.js'
import { session } from './lib/service.js'
import { takeToken } from './lib/token.js'
import { Shell } from './parts/shell.js'
import { TokenPage } from './pages/token.js'

/** Shows the pages to users with a session, and asks others for the token. */
function App ({ problem }) {
  const [who, setWho] = useState(undefined)

  async function checkSession () {
    try {
      const known = await session.read()
      // The dashboard sends users without a session here.
      if (window.location.hash === '#/dashboard') window.location.replace(addressOf('/dashboard'))
      else setWho(known)
    } catch (error) {
      setWho(error)
    }
  }

  useEffect(() => {
    const onSignedOut = () => { checkSession() }
    checkSession()
    window.addEventListener(signedOut, onSignedOut)
    return () => window.removeEventListener(signedOut, onSignedOut)
  }, [])

  if (who === undefined) return null
  if (!(who instanceof Error)) return html`<${Shell} who=${who} onSignedOut=${checkSession} />`
  return html`<${TokenPage} refusal=${who} problem=${problem} onSignedIn=${checkSession} />`
}

const root = document.getElementById('app')
const problem = await takeToken()
root.replaceChildren()
render(html`<${App} problem=${problem} />`, root)
