import { copyText } from '../lib/clipboard.js'
import { html } from '../lib/html.js'
import { complain, say } from '../lib/messages.js'
import { Icon } from './icon.js'

export function CopyButton ({ label, what, text }) {
  async function copy () {
    try {
      await copyText(text)
      say(`${what} copied.`)
    } catch (error) {
      complain(error)
    }
  }
  return html`<button type="button" class="button" onClick=${copy}><${Icon} name="copy" />${label}</button>`
}
