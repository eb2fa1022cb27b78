import type { Sweep } from '../lib/sweep.ts'
import { mostJobs, sweepable } from '../lib/sweep.ts'
import { plural } from '../lib/format.ts'
import { SelectField, TextField } from './field.tsx'
import { Icon } from './icon.tsx'

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
        <h2 id='sweep'>Try several values</h2>
        {unused && (
          <button
            type='button' class='button quiet'
            onClick={() => onSweeps([...sweeps, { name: unused.value, text: '' }])}
          >
            <Icon name='create' />{sweeps.length === 0 ? 'Vary a parameter' : 'Vary another'}
          </button>
        )}
      </div>
      {sweeps.map(({ name, text }, index) => (
        <div key={index} class='sweep-row'>
          <SelectField label='Vary' value={name} onValue={value => change(index, { name: value })} options={options} />
          <TextField
            label='Values' value={text} onValue={value => change(index, { text: value })}
            placeholder={name === 'prompt' ? 'red, green, blue' : '20, 30 or 20-40:10'} autocomplete='off'
          />
          <button
            type='button' class='button quiet icon-only' aria-label={`Do not vary ${sweepable[name]}`} title='Do not vary'
            onClick={() => onSweeps(sweeps.filter((_, at) => at !== index))}
          ><Icon name='close' />
          </button>
        </div>
      ))}
      {sweeps.some(({ name }) => name === 'prompt') && <p class='hint'>The first value must be in the prompt; each of the others replaces it.</p>}
      {sweeps.length > 0 && (
        <p class={count > mostJobs ? 'problem' : 'hint'} role='status'>
          {count > mostJobs ? `${count} jobs are too many at once; ${mostJobs} are possible.` : sentenceOf(sweeps, count)}
        </p>
      )}
    </section>
  )
}

function sentenceOf (sweeps: readonly Sweep[], count: number) {
  if (count === 1) return 'Enter several values, separated by commas; each makes one job.'
  return `Makes ${plural(count, 'job')}${sweeps.some(({ name }) => name === 'seed') ? '' : ', all with the same seed'}.`
}
