import { useForm } from '../lib/form.ts'
import { useServers } from '../lib/caller.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, SelectField } from './field.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

/**
 * Asks which server gets waiting jobs.
 * @param props words: the number of jobs; notice: a change since the dialog opened; from: the alias
 *   of their present server, or empty; move closes the dialog after it moved them
 */
export function MoveJobs ({ words, notice = '', from, move, onClose }: {
  words: string
  notice?: string
  from: string
  move: (alias: string) => Promise<void>
  onClose: () => void
}) {
  const { data: known } = useServers({ interval: null })
  const others = known?.filter(({ alias }) => alias !== from).map(({ alias }) => ({ value: alias, label: alias })) ?? []
  const form = useForm({ server: '' })

  async function send ({ server }: { server: string }) {
    await move(server || (others[0]?.value ?? ''))
  }

  return (
    <Dialog title={t.moveWords(words)} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        {notice !== '' && <p class='notice problem-notice' role='alert'>{notice}</p>}
        {known !== undefined && others.length === 0
          ? <p>{t.thereIsNoOther}</p>
          : <SelectField
              label={t.newServer} {...form.field('server')}
              value={form.values.server || (others[0]?.value ?? '')} options={others}
            />}
        <p class='hint'>{t.theyAreSortedThereBy}</p>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy || others.length === 0}>{t.moveWords(words)}</button>
        </div>
      </form>
    </Dialog>
  )
}
