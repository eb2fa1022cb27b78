import { ApiError, sentenceOf } from './api.js'
import { useRef, useState } from './html.js'

/** The input that a field of the API belongs to: `generation_params.init_images.0` is `init_images`. */
function inputOf (field, names = []) {
  const parts = field.split('.')
  const own = parts.find(part => names.includes(part))
  if (own !== undefined) return own
  const name = parts.findLast(part => !/^\d+$/.test(part)) ?? field
  // Some fields have two spellings, of which our forms use one.
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}

/** The sentence without the field's name, which stands above it already. */
function besideInput ({ field, message }) {
  if (!message.startsWith(`${field} `)) return message
  const rest = message.slice(field.length + 1)
  return `${rest.charAt(0).toUpperCase()}${rest.slice(1)}`
}

/** What is wrong with which input; what belongs to none of them goes under the empty name. */
function problemsOf (error, names) {
  if (!(error instanceof ApiError)) return { '': sentenceOf(error) }
  const { field, fields } = error.details
  const named = (fields ?? (field === undefined ? [] : [{ field, message: error.message }]))
    .map(problem => [inputOf(problem.field, names), besideInput(problem)])
    .filter(([name]) => names.includes(name))
  return named.length > 0 ? Object.fromEntries(named) : { '': error.message }
}

/**
 * Inputs beyond their own range, that of A1111's interface: the service takes more, from programs that mean it.
 * @param {HTMLFormElement | null} form
 */
function beyondRange (form) {
  return Object.fromEntries([...form?.elements ?? []].flatMap(({ name, validity, min, max }) => {
    if (!name || validity === undefined) return []
    if (validity.rangeOverflow) return [[name, `Enter ${max} or less.`]]
    return validity.rangeUnderflow ? [[name, `Enter ${min} or more.`]] : []
  }))
}

/** Names that the service suggests in place of what an input says, and what it was that is not there. */
function nearestOf (error) {
  const { field, nearest = [] } = error instanceof ApiError ? error.details : {}
  if (field === undefined || nearest.length === 0) return {}
  const [, wrong = ''] = /"([^"]+)"/.exec(error.message) ?? []
  return { [inputOf(field)]: { names: nearest, wrong } }
}

/**
 * Values of a form, what is wrong with them, and sending them.
 * @param {Record<string, any>} initial by names of the API's fields, so that its complaints find their inputs
 */
export function useForm (initial) {
  const [values, setValues] = useState(initial)
  const [problems, setProblems] = useState({})
  const [nearest, setNearest] = useState({})
  const [busy, setBusy] = useState(false)
  const element = useRef(null)

  /** After the complaint is on the page. */
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
    /** What an input needs to take part. */
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
