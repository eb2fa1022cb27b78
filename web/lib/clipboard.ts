import { common } from '../texts/en/common.ts'

/** Copies text, also in browsers that offer their clipboard only to secure pages. */
export async function copyText (text: string) {
  if (navigator.clipboard !== undefined) return await navigator.clipboard.writeText(text)
  const area = document.createElement('textarea')
  area.value = text
  area.readOnly = true
  area.className = 'out-of-sight'
  const host = document.querySelector('dialog[open]') ?? document.body
  host.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  if (!done) throw new Error(common.copyingNotAllowed)
}
