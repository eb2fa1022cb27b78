import { html, useId } from '../lib/html.js'

/** Label, input, hint and error, linked for screen readers. */
function Labelled ({ label, hint, problem, nearest, onNearest, wide, input }) {
  const id = useId()
  const described = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(' ')
  return html`
    <div class=${wide ? 'field wide' : 'field'}>
      <label for=${id}>${label}</label>
      ${input({ id, 'aria-invalid': problem ? 'true' : undefined, 'aria-describedby': described || undefined })}
      ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
      ${problem && html`<p class="problem" id="${id}-problem">${problem}</p>`}
      ${problem && nearest && html`
        <div class="actions nearest" role="group" aria-label="Suggestions">
          ${nearest.names.map(name => html`
            <button key=${name} type="button" class="tab" onClick=${() => onNearest(name, nearest.wrong)}>${name}</button>`)}
        </div>`}
    </div>`
}

export function TextField ({ label, hint, problem, nearest, wide, value, onValue, onNearest = onValue, ...rest }) {
  return html`<${Labelled} ...${{ label, hint, problem, nearest, onNearest, wide }} input=${aria => html`
    <input type="text" ...${aria} ...${rest} value=${value} onInput=${event => onValue(event.currentTarget.value)} />`} />`
}

export function NumberField (props) {
  return html`<${TextField} type="number" inputmode="decimal" ...${props} />`
}

export function TextArea ({ label, hint, problem, nearest, wide, value, onValue, onNearest = onValue, ...rest }) {
  return html`<${Labelled} ...${{ label, hint, problem, nearest, onNearest, wide }} input=${aria => html`
    <textarea ...${aria} ...${rest} value=${value} onInput=${event => onValue(event.currentTarget.value)}></textarea>`} />`
}

/** @param {{ options: Array<{ value: string, label: string }> }} props also shows a value that is not an option */
export function SelectField (props) {
  const { label, hint, problem, nearest, wide, value, onValue, onNearest = onValue, options, ...rest } = props
  const known = options.some(option => option.value === value)
  return html`<${Labelled} ...${{ label, hint, problem, nearest, onNearest, wide }} input=${aria => html`
    <select ...${aria} ...${rest} value=${value} onChange=${event => onValue(event.currentTarget.value)}>
      ${!known && html`<option value=${value} selected>${value}</option>`}
      ${options.map(option => html`
        <option key=${option.value} value=${option.value} selected=${option.value === value}>${option.label}</option>`)}
    </select>`} />`
}

export function CheckField ({ label, hint, value, onValue, problem: _problem, nearest: _nearest, ...rest }) {
  const id = useId()
  return html`
    <div class="check">
      <input type="checkbox" id=${id} ...${rest} checked=${value} aria-describedby=${hint && `${id}-hint`}
        onChange=${event => onValue(event.currentTarget.checked)} />
      <label for=${id}>${label}</label>
      ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    </div>`
}

/** Errors that belong to no single input. */
export function FormProblem ({ problem }) {
  return problem ? html`<p class="notice problem-notice" role="alert" tabindex="-1">${problem}</p>` : null
}
