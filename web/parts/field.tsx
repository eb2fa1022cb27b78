import type { ComponentChildren } from 'preact'
import type { FieldProps } from '../lib/form.ts'
import { useId } from 'preact/hooks'
import { common } from '../texts/en/common.ts'

/** What the label, the hint and the error of an input need. */
interface Labels {
  readonly label: string
  readonly hint?: string
  readonly wide?: boolean
  /** Takes a suggested name in place of the wrong one; without it, the name becomes the value. */
  readonly onNearest?: (name: string, wrong: string) => void
}

/** Attributes that an input gets unchanged. */
interface InputProps {
  readonly type?: 'text' | 'number' | 'password'
  readonly placeholder?: string
  readonly autocomplete?: string
  readonly autocapitalize?: 'none'
  readonly autofocus?: boolean
  readonly inputmode?: 'decimal' | 'url'
  readonly spellcheck?: boolean
  readonly required?: boolean
  readonly maxlength?: number
  readonly min?: string
  readonly max?: string
  readonly step?: string
}

type TextProps = Omit<FieldProps<string>, 'name'> & Labels & { readonly name?: string }

export interface Option {
  readonly value: string
  readonly label: string
}

/** Attributes that link an input with its label, hint and error. */
interface Aria {
  readonly id: string
  readonly 'aria-invalid': 'true' | undefined
  readonly 'aria-describedby': string | undefined
}

/** Label, input, hint and error, linked for screen readers. */
function Labelled ({ label, hint, problem, nearest, onNearest, wide, input }: Labels & Pick<TextProps, 'problem' | 'nearest'> & {
  readonly input: (aria: Aria) => ComponentChildren
}) {
  const id = useId()
  const described = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(' ')
  return (
    <div class={wide ? 'field wide' : 'field'}>
      <label for={id}>{label}</label>
      {input({ id, 'aria-invalid': problem ? 'true' : undefined, 'aria-describedby': described || undefined })}
      {hint && <p class='hint' id={`${id}-hint`}>{hint}</p>}
      {problem && <p class='problem' id={`${id}-problem`}>{problem}</p>}
      {problem && nearest && (
        <div class='actions nearest' role='group' aria-label={common.suggestions}>
          {nearest.names.map(name => <button key={name} type='button' class='tab' onClick={() => onNearest?.(name, nearest.wrong)}>{name}</button>)}
        </div>
      )}
    </div>
  )
}

export function TextField (props: TextProps & InputProps) {
  const { label, hint, problem, nearest, wide, value, onValue, onNearest = onValue, type, ...rest } = props
  return (
    <Labelled
      {...{ label, hint, problem, nearest, onNearest, wide }}
      input={aria => <input
        type={(type ?? 'text') as 'text'} {...aria} {...rest} value={value}
        onInput={event => onValue(event.currentTarget.value)}
                     />}
    />
  )
}

export function NumberField (props: TextProps & InputProps) {
  return <TextField type='number' inputmode='decimal' {...props} />
}

export function TextArea ({ label, hint, problem, nearest, wide, value, onValue, onNearest = onValue, ...rest }: TextProps & Omit<InputProps, 'type' | 'min' | 'max' | 'step'> & { readonly rows: number }) {
  return (
    <Labelled
      {...{ label, hint, problem, nearest, onNearest, wide }}
      input={aria => <textarea
        {...aria} {...rest} value={value}
        onInput={event => onValue(event.currentTarget.value)}
                     />}
    />
  )
}

/** @param props also shows a value that is not an option */
export function SelectField (props: TextProps & { options: readonly Option[] }) {
  const { label, hint, problem, nearest, wide, value, onValue, onNearest = onValue, options, ...rest } = props
  const known = options.some(option => option.value === value)
  return (
    <Labelled
      {...{ label, hint, problem, nearest, onNearest, wide }} input={aria => (
        <select {...aria} {...rest} value={value} onChange={event => onValue(event.currentTarget.value)}>
          {!known && <option value={value} selected>{value}</option>}
          {options.map(option => <option key={option.value} value={option.value} selected={option.value === value}>{option.label}</option>)}
        </select>
      )}
    />
  )
}

export function CheckField ({ label, hint, name, value, onValue }: FieldProps<boolean> & Pick<Labels, 'label' | 'hint'>) {
  const id = useId()
  return (
    <div class='check'>
      <input
        type='checkbox' id={id} name={name} checked={value} aria-describedby={hint && `${id}-hint`}
        onChange={event => onValue(event.currentTarget.checked)}
      />
      <label for={id}>{label}</label>
      {hint && <p class='hint' id={`${id}-hint`}>{hint}</p>}
    </div>
  )
}

/** Errors that belong to no single input. */
export function FormProblem ({ problem }: { problem?: string }) {
  return problem ? <p class='notice problem-notice' role='alert' tabindex={-1}>{problem}</p> : null
}
