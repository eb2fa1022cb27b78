import { useEffect, useState } from 'preact/hooks'
import { Dialog } from './dialog.tsx'
import { common } from '../texts/en/common.ts'

const shortcuts: ReadonlyArray<readonly [string, string]> = [
  ['?', common.thisList],
  [common.altArrows, common.shortcutMove],
  [common.altShiftArrows, common.shortcutMoveToEnds],
  [common.altB, common.shortcutBackground],
  [common.shiftClick, common.shortcutChooseUpTo],
  [common.ctrlEnter, common.shortcutSubmit],
  [common.arrowKeys, common.shortcutNextImage],
  [common.enter, common.shortcutOpenImage],
  [common.space, common.shortcutChooseImage],
  [common.delete, common.shortcutDeleteImage],
  ['Escape', common.shortcutClose]
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
    <Dialog title={common.keyboardShortcuts} onClose={() => setOpen(false)}>
      <dl class='facts-list'>
        {shortcuts.map(([keys, what]) => <div key={keys}><dt><kbd>{keys}</kbd></dt><dd>{what}</dd></div>)}
      </dl>
    </Dialog>
  )
}
