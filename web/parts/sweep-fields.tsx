import type { Sweep } from '../lib/sweep.ts'
import { mostJobs, sweepable } from '../lib/sweep.ts'
import { SelectField, TextField } from './field.tsx'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/create.ts'

const options = Object.entries(sweepable).map(([value, label]) => ({ value, label }))

/** Inputs for several values of some parameters; the service gets a job for each combination. */
export function SweepFields ({ sweeps, onSweeps, count }: {
  sweeps: readonly Sweep[]
  onSweeps: (sweeps: Sweep[]) => void
  count: number
}) {
  const change = (index: number, part: Partial<Sweep>) =>
    onSweeps(sweeps.map((sweep, at) => at === index ? { ...sweep, ...part } : sweep))
  const unused = options.find(({ value }) => !sweeps.some(({ name }) => name === value))
  return (
    <section class='form-section' aria-labelledby='sweep'>
      <div class='section-head'>
        <h2 id='sweep'>{t.trySeveralValues}</h2>
        {unused && (
          <button
            type='button' class='button quiet'
            onClick={() => onSweeps([...sweeps, { name: unused.value, text: '' }])}
          >
            <Icon name='create' />{sweeps.length === 0 ? t.varyParameter : t.varyAnother}
          </button>
        )}
      </div>
      {sweeps.map(({ name, text }, index) => (
        <div key={index} class='sweep-row'>
          <SelectField label={t.vary} value={name} onValue={value => change(index, { name: value })} options={options} />
          <TextField
            label={t.values} value={text} onValue={value => change(index, { text: value })}
            placeholder={name === 'prompt' ? t.exampleWords : t.exampleNumbers} autocomplete='off'
          />
          <button
            type='button' class='button quiet icon-only' aria-label={t.doNotVaryName(sweepable[name] ?? name)} title={t.doNotVary}
            onClick={() => onSweeps(sweeps.filter((_, at) => at !== index))}
          ><Icon name='close' />
          </button>
        </div>
      ))}
      {sweeps.some(({ name }) => name === 'prompt') && <p class='hint'>{t.wordsHint}</p>}
      {sweeps.length > 0 && (
        <p class={count > mostJobs ? 'problem' : 'hint'} role='status'>
          {count > mostJobs ? t.tooManyJobs({ count, mostJobs }) : sentenceOf(sweeps, count)}
        </p>
      )}
    </section>
  )
}

function sentenceOf (sweeps: readonly Sweep[], count: number) {
  if (count === 1) return t.valuesHint
  return sweeps.some(({ name }) => name === 'seed') ? t.makesJobs(count) : t.makesJobsOfSameSeed(count)
}
