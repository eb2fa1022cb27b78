import type { RefObject } from 'preact'
import type { ErrorAnswer } from './api-types.ts'
import { ApiError, sentenceOf } from './api.ts'
import { useEffect, useRef, useState } from 'preact/hooks'
import { doubleClick } from './once.ts'
import { common } from '../texts/en/common.ts'

/** Messages by input; messages that belong to no input are under the empty name. */
export type Problems = Readonly<Partial<Record<string, string>>>

/** The unknown name in an input, and the names that the service suggests instead. */
export interface Nearest {
  readonly names: readonly string[]
  readonly wrong: string
}

/** The properties that connect an input with its form. */
export interface FieldProps<Value> {
  readonly name: string
  readonly value: Value
  readonly problem?: string | undefined
  readonly nearest?: Nearest | undefined
  readonly onValue: (value: Value) => void
}

export interface Form<Values> {
  readonly values: Values
  readonly problems: Problems
  readonly busy: boolean
  readonly element: RefObject<HTMLFormElement | null>
  readonly submit: (event: Event, send: (values: Values) => Promise<unknown>) => Promise<void>
  readonly setValues: (next: Values | ((before: Values) => Values)) => void
  readonly field: <Name extends keyof Values & string>(name: Name) => FieldProps<Values[Name]>
}

/** The input for a field of the API: `generation_params.init_images.0` belongs to `init_images`. */
function inputOf (field: string, names: readonly string[] = []) {
  const parts = field.split('.')
  const own = parts.find(part => names.includes(part))
  if (own !== undefined) return own
  const name = parts.findLast(part => !/^\d+$/.test(part)) ?? field
  if (name === 'server' && names.includes('target_server_alias')) return 'target_server_alias'
  // Some fields have two spellings; our forms use one of them.
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}

/** The message without the field's name, because the form shows that name above it. */
function besideInput ({ field, message }: { field: string, message: string }) {
  if (!message.startsWith(`${field} `)) return message
  const rest = message.slice(field.length + 1)
  return `${rest.charAt(0).toUpperCase()}${rest.slice(1)}`
}

function problemsOf (error: unknown, names: readonly string[]): Problems {
  if (!(error instanceof ApiError)) return { '': sentenceOf(error) }
  const { field, fields } = error.details
  const named = (fields ?? (field === undefined ? [] : [{ field, message: error.message }]))
    .map(problem => [inputOf(problem.field, names), besideInput(problem)] as const)
    .filter(([name]) => names.includes(name))
  return named.length > 0 ? Object.fromEntries(named) : { '': error.message }
}

/**
 * Inputs outside their range, which is that of A1111's interface. The service accepts more, because programs send such
 * values on purpose.
 */
function beyondRange (form: HTMLFormElement | null): Problems {
  return Object.fromEntries([...form?.elements ?? []].flatMap(element => {
    if (!(element instanceof HTMLInputElement) || element.name === '') return []
    const { name, validity, min, max } = element
    if (validity.rangeOverflow) return [[name, common.enterOrLess(max)]]
    return validity.rangeUnderflow ? [[name, common.enterOrMore(min)]] : []
  }))
}

function nearestOf (error: unknown): Readonly<Record<string, Nearest>> {
  const { field, nearest = [] }: Partial<ErrorAnswer['details']> = error instanceof ApiError ? error.details : {}
  if (!(error instanceof Error) || field === undefined || nearest.length === 0) return {}
  const [, wrong = ''] = /"([^"]+)"/.exec(error.message) ?? []
  return { [inputOf(field)]: { names: nearest, wrong } }
}

const namesOf = <Values extends object>(values: Values) => Object.keys(values) as Array<keyof Values & string>

/** The same object if it has none of the names, so that nothing is rendered again. */
function without<Value> (values: Readonly<Record<string, Value>>, names: readonly string[]) {
  if (!names.some(name => name in values)) return values
  return Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name)))
}

/**
 * The values of a form, their errors, and sending them.
 * @param initial by the names of the API's fields, so that its errors find their inputs
 */
export function useForm<Values extends object> (initial: Values): Form<Values> {
  const [values, setValues] = useState(initial)
  const [problems, setProblems] = useState<Problems>({})
  const [nearest, setNearest] = useState<Readonly<Record<string, Nearest>>>({})
  const [busy, setBusy] = useState(false)
  /** Of the submission that runs, or of the last one that succeeded: the page renders too late for a double click. */
  const blockedUntil = useRef(0)
  const before = useRef(initial)
  const element = useRef<HTMLFormElement>(null)

  // An error is about the former value, and one of no field about the former values.
  useEffect(() => {
    const changed = namesOf(values).filter(name => values[name] !== before.current[name])
    before.current = values
    if (changed.length === 0) return
    // Other values are no second click.
    if (blockedUntil.current !== Infinity) blockedUntil.current = 0
    setProblems(problems => without(problems, ['', ...changed]))
    setNearest(nearest => without(nearest, changed))
  }, [values])

  /** Runs after the page shows the errors. */
  function focusProblem () {
    setTimeout(() => element.current?.querySelector<HTMLElement>('[aria-invalid=true], [role=alert]')?.focus())
  }

  async function submit (event: Event, send: (values: Values) => Promise<unknown>) {
    event.preventDefault()
    if (Date.now() < blockedUntil.current) return
    const beyond = beyondRange(element.current)
    setProblems(beyond)
    setNearest({})
    if (Object.keys(beyond).length > 0) return focusProblem()
    setBusy(true)
    blockedUntil.current = Infinity
    try {
      await send(values)
      blockedUntil.current = Date.now() + doubleClick
    } catch (error) {
      blockedUntil.current = 0
      setProblems(problemsOf(error, Object.keys(values)))
      setNearest(nearestOf(error))
      focusProblem()
    } finally {
      setBusy(false)
    }
  }

  return {
    values,
    problems,
    busy,
    element,
    submit,
    setValues,
    /** The properties that connect an input with the form. */
    field: name => ({
      name,
      value: values[name],
      problem: problems[name],
      nearest: nearest[name],
      onValue (value: Values[typeof name]) {
        setValues(before => ({ ...before, [name]: value }))
      }
    })
  }
}
