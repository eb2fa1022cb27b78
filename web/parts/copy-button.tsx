import { copyText } from '../lib/clipboard.ts'

import { complain, say } from '../lib/messages.ts'
import { Icon } from './icon.tsx'

export function CopyButton ({ label, what, text }: { label: string, what: string, text: string }) {
  async function copy () {
    try {
      await copyText(text)
      say(`${what} copied.`)
    } catch (error) {
      complain(error)
    }
  }
  return <button type='button' class='button' onClick={copy}><Icon name='copy' />{label}</button>
}
