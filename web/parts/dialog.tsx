import { render, type ComponentChildren, type FunctionComponent } from 'preact'
import { Caller, useCaller } from '../lib/caller.ts'
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { complain } from '../lib/messages.ts'
import { Icon } from './icon.tsx'
import { OnceButton } from './once-button.tsx'
import { common } from '../texts/en/common.ts'

/** A modal dialog: keeps the focus inside, closes on Escape, and returns the focus. */
export function Dialog ({ title, onClose, wide, children }: {
  title: string
  onClose: () => void
  wide?: boolean
  children?: ComponentChildren
}) {
  const id = useId()
  const element = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    const dialog = element.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog
      ref={element} class={wide ? 'wide' : undefined} aria-labelledby={id}
      onCancel={event => { event.preventDefault(); onClose() }}
    >
      <header class='dialog-head'>
        <h2 id={id}>{title}</h2>
        <button type='button' class='button quiet icon-only' aria-label={common.close} onClick={onClose}><Icon name='close' /></button>
      </header>
      {children}
    </dialog>
  )
}

/** Shows a dialog that stays open while the row of a list that opened it moves or goes. */
export function useOpenDialog () {
  const who = useCaller()
  return (content: (close: () => void) => ComponentChildren) => {
    const host = document.body.appendChild(document.createElement('div'))
    function close () {
      window.removeEventListener('hashchange', close)
      render(null, host)
      host.remove()
    }
    window.addEventListener('hashchange', close)
    render(<Caller.Provider value={who}>{content(close)}</Caller.Provider>, host)
  }
}

/** A dialog whose code the browser loads when it opens for the first time. */
export function onDemand<Props extends { onClose: () => void }> (
  load: () => Promise<FunctionComponent<Props>>
): FunctionComponent<Props> {
  let View: FunctionComponent<Props> | undefined
  return function OnDemand (props) {
    const [, setIsLoaded] = useState(false)
    useEffect(() => {
      let isWanted = true
      async function read () {
        try {
          View ??= await load()
          if (isWanted) setIsLoaded(true)
        } catch (error) {
          if (!isWanted) return
          complain(error)
          props.onClose()
        }
      }
      if (View === undefined) read()
      return () => { isWanted = false }
    }, [])
    return View === undefined ? null : <View {...props} />
  }
}

/** Asks before an action that cannot be undone. @param props notice: a change since it opened */
export function Confirm ({ title, sentence, notice = '', action, keep = common.keepIt, onConfirm, onClose }: {
  title: string
  sentence: string
  notice?: string
  action: string
  keep?: string
  onConfirm: () => Promise<unknown>
  onClose: () => void
}) {
  async function confirm () {
    await onConfirm()
    return true
  }
  return (
    <Dialog title={title} onClose={onClose}>
      {notice !== '' && <p class='notice problem-notice' role='alert'>{notice}</p>}
      {sentence !== '' && <p>{sentence}</p>}
      <div class='dialog-actions'>
        <button type='button' class='button' onClick={onClose}>{keep}</button>
        <OnceButton class='button danger' act={confirm}>{action}</OnceButton>
      </div>
    </Dialog>
  )
}
