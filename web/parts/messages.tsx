import { dismiss, useMessages } from '../lib/messages.ts'
import { Icon } from './icon.tsx'
import { common } from '../texts/en/common.ts'

/** Short messages at the edge of the page. */
export function Messages () {
  const messages = useMessages()
  return (
    <div class='messages'>
      {['news', 'problem'].map(kind => (
        <div key={kind} role={kind === 'news' ? 'status' : 'alert'}>
          {messages.filter(message => message.kind === kind).map(({ id, text }) => (
            <p key={id} class={`message ${kind}`}>
              <span>{text}</span>
              <button type='button' class='button quiet icon-only' aria-label={common.dismiss} onClick={() => dismiss(id)}>
                <Icon name='close' />
              </button>
            </p>
          ))}
        </div>
      ))}
    </div>
  )
}
