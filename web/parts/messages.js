import { html } from '../lib/html.js'
import { dismiss, useMessages } from '../lib/messages.js'
import { Icon } from './icon.js'

/** Short messages at the edge of the page. */
export function Messages () {
  const messages = useMessages()
  return html`
    <div class="messages">
      ${['news', 'problem'].map(kind => html`
        <div key=${kind} role=${kind === 'news' ? 'status' : 'alert'}>
          ${messages.filter(message => message.kind === kind).map(({ id, text }) => html`
            <p key=${id} class="message ${kind}">
              <span>${text}</span>
              <button type="button" class="button quiet icon-only" aria-label="Dismiss" onClick=${() => dismiss(id)}>
                <${Icon} name="close" />
              </button>
            </p>`)}
        </div>`)}
    </div>`
}
