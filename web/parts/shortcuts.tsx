import { useEffect, useState } from 'preact/hooks'
import { Dialog } from './dialog.tsx'

const shortcuts: ReadonlyArray<readonly [string, string]> = [
  ['?', 'This list'],
  ['Alt + ↑ or ↓', 'Queue, waiting jobs: move the job of the row up or down'],
  ['Alt + Shift + ↑ or ↓', 'Queue, waiting jobs: move it to the top or to the end'],
  ['Shift + click', 'Lists: choose all up to the one before'],
  ['Ctrl + Enter', 'Create: submit'],
  ['Arrow keys', 'Gallery: go from image to image'],
  ['Enter', 'Gallery: open the image'],
  ['Space', 'Gallery: choose the image'],
  ['Delete', 'Gallery: delete the image'],
  ['Escape', 'Close a dialog or an image']
]

/** Lists the keys of these pages after a press of `?`. */
export function Shortcuts () {
  const [isOpen, setOpen] = useState(false)
  useEffect(() => {
    function onKeyDown ({ key, ctrlKey, metaKey, target }: KeyboardEvent) {
      const isTyping = target instanceof Element && target.closest('input, textarea, select, dialog') !== null
      if (key === '?' && !ctrlKey && !metaKey && !isTyping) setOpen(true)
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [])
  if (!isOpen) return null
  return (
    <Dialog title='Keyboard shortcuts' onClose={() => setOpen(false)}>
      <dl class='facts-list'>
        {shortcuts.map(([keys, what]) => <div key={keys}><dt><kbd>{keys}</kbd></dt><dd>{what}</dd></div>)}
      </dl>
    </Dialog>
  )
}
