import { signedOut } from './lib/api.js'
import { html, render, useEffect, useState } from './lib/html.js'
import { session } from './lib/service.js'
import { takeToken } from './lib/token.js'
import { Shell } from './parts/shell.js'
import { TokenPage } from './pages/token.js'

/** Lets in whom the service knows, and asks everybody else for the token. */
function App ({ problem }) {
  const [who, setWho] = useState(undefined)

  async function recognise () {
    try {
      const known = await session.read()
      // Whoever opened the dashboard without a session was sent here for one.
      if (window.location.hash === '#/dashboard') window.location.replace('/dashboard')
      else setWho(known)
    } catch (error) {
      setWho(error)
    }
  }

  useEffect(() => {
    const onSignedOut = () => { recognise() }
    recognise()
    window.addEventListener(signedOut, onSignedOut)
    return () => window.removeEventListener(signedOut, onSignedOut)
  }, [])

  if (who === undefined) return null
  if (!(who instanceof Error)) return html`<${Shell} who=${who} onSignedOut=${recognise} />`
  return html`<${TokenPage} refusal=${who} problem=${problem} onSignedIn=${recognise} />`
}

const root = document.getElementById('app')
const problem = await takeToken()
root.replaceChildren()
render(html`<${App} problem=${problem} />`, root)
