import type { Further } from '../lib/generation.ts'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/create.ts'

/**
 * Reused parameters without an input in the form: the job gets them too, unless the user leaves them out.
 */
export function FurtherParameters ({ further, onLeaveOut }: { further: Further | null, onLeaveOut: () => void }) {
  if (further === null) return null
  const names = Object.entries(further.parameters).map(([name, value]) =>
    name === 'alwayson_scripts' ? Object.keys(value as object).join(', ') : name)
  return (
    <section class='form-section' aria-labelledby='further-parameters'>
      <div class='section-head'>
        <h2 id='further-parameters'>{t.furtherParameters}</h2>
        <button type='button' class='button quiet' onClick={onLeaveOut}><Icon name='close' />{t.leaveTheseOut}</button>
      </div>
      <p class='hint'>{t.sentUnchanged(<strong>{names.join(', ')}</strong>)}</p>
      <details><summary>{t.showIt}</summary><pre class='answer' tabindex={0}>{JSON.stringify(further.parameters, null, 2)}</pre></details>
    </section>
  )
}
