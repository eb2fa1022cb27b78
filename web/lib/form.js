import { ApiError, sentenceOf } from './api.js'
import { useRef, useState } from './html.js'

/** The input for a field of the API: `generation_params.init_images.0` belongs to `init_images`. */
function inputOf (field, names = []) {
  const parts = field.split('.')
  const own = parts.find(part => names.includes(part))
  if (own !== undefined) return own
  const name = parts.findLast(part => !/^\d+$/.test(part)) ?? field
  // Some fields have two spellings; our forms use one of them.
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}

/** The message without the field's name, because the form shows that name above it. */
function besideInput ({ field, message }) {
  if (!message.startsWith(`${field} `)) return message
  const rest = message.slice(field.length + 1)
  return `${rest.charAt(0).toUpperCase()}${rest.slice(1)}`
}

/** Messages by input; messages that belong to no input are under the empty name. */
function problemsOf (error, names) {
  if (!(error instanceof ApiError)) return { '': sentenceOf(error) }
  const { field, fields } = error.details
  const named = (fields ?? (field === undefined ? [] : [{ field, message: error.message }]))
    .map(problem => [inputOf(problem.field, names), besideInput(problem)])
    .filter(([name]) => names.includes(name))
  return named.length > 0 ? Object.fromEntries(named) : { '': error.message }
}

/**
 * Inputs outside their range, which is that of A1111's interface. The service accepts more, because programs send such
 * values on purpose.
 * @param {HTMLFormElement | null} form
 */
function beyondRange (form) {
  return Object.fromEntries([...form?.elements ?? []].flatMap(({ name, validity, min, max }) => {
    if (!name || validity === undefined) return []
    if (validity.rangeOverflow) return [[name, `Enter ${max} or less.`]]
    return validity.rangeUnderflow ? [[name, `Enter ${min} or more.`]] : []
  }))
}

/** The unknown name in an input, and the names that the service suggests instead. */
function nearestOf (error) {
  const { field, nearest = [] } = error instanceof ApiError ? error.details : {}
  if (field === undefined || nearest.length === 0) return {}
  const [, wrong = ''] = /"([^"]+)"/.exec(error.message) ?? []
  return { [inputOf(field)]: { names: nearest, wrong } }
}

/**
 * The values of a form, their errors, and sending them.
 * @param {Record<string, any>} initial by the names of the API's fields, so that its errors find their inputs
 */
export function useForm (initial) {
  const [values, setValues] = useState(initial)
  const [problems, setProblems] = useState({})
  const [nearest, setNearest] = useState({})
  const [busy, setBusy] = useState(false)
  const element = useRef(null)

  /** Runs after the page shows the errors. */
  function focusProblem () {
    setTimeout(() => element.current?.querySelector('[aria-invalid=true], [role=alert]')?.focus())
  }

  async function submit (event, send) {
    event.preventDefault()
    if (busy) return
    const beyond = beyondRange(element.current)
    setProblems(beyond)
    setNearest({})
    if (Object.keys(beyond).length > 0) return focusProblem()
    setBusy(true)
    try {
      await send(values)
    } catch (error) {
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
      onValue (value) {
        setValues(before => ({ ...before, [name]: value }))
        if (problems[name] !== undefined) setProblems(({ [name]: _solved, ...others }) => others)
      }
    })
  }
}
