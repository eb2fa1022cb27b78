import { copyText } from '../lib/clipboard.ts'
import { complain, say } from '../lib/messages.ts'
import { Icon } from './icon.tsx'

export function CopyButton ({ label, copied, text }: { label: string, copied: string, text: string }) {
  async function copy () {
    try {
      await copyText(text)
      say(copied)
    } catch (error) {
      complain(error)
    }
  }
  return <button type='button' class='button' onClick={copy}><Icon name='copy' />{label}</button>
}
