import type { ServerCheckReport } from '../../../schemas/server-check.ts'
import { fieldsOf, objectOf } from '../../a1111/json-values.ts'
import { rulesOf } from '../../a1111/kinds/registry.ts'
import type { RawAnswer } from '../../a1111/raw-calls.ts'
import { addFinding, type CheckFacts } from '../facts.ts'
import type { CheckSession } from '../session.ts'

type ErrorStyle = ServerCheckReport['traits']['error_styles'][number]

const names: Readonly<Record<ErrorStyle, string>> = {
  a1111: 'A1111\'s own',
  forge: 'Forge\'s own',
  fastapi: 'FastAPI\'s',
  pydantic1: 'pydantic 1',
  pydantic2: 'pydantic 2',
  bare_string: 'a bare JSON string',
  html: 'an HTML page',
  other: 'an unknown one'
}

/** How an error is worded; null for an answer that is none. */
export function errorStyleOf ({ status, headers, text, json }: Pick<RawAnswer, 'status' | 'headers' | 'text' | 'json'>): ErrorStyle | null {
  if (status < 400) return null
  const isHtml = /html/i.test(headers['content-type'] ?? '') || text.trimStart().startsWith('<')
  if (isHtml) return 'html'
  if (typeof json === 'string') return 'bare_string'
  const body = objectOf(json)
  if (body === null) return 'other'
  if (Array.isArray(body.detail)) return styleOfList(body.detail)
  if ('error' in body && 'detail' in body && 'errors' in body) return 'a1111'
  if ('error' in body && 'detail' in body && 'message' in body) return 'forge'
  return 'detail' in body && !('error' in body) ? 'fastapi' : 'other'
}

/** pydantic 1 names its types `type_error.integer` and the like; pydantic 2 has plain words. */
function styleOfList (list: readonly unknown[]): ErrorStyle {
  const types = list.map(entry => fieldsOf(entry).type)
  if (!types.every(type => typeof type === 'string')) return 'other'
  return types.some(type => /^(value_error|type_error)/.test(type)) ? 'pydantic1' : 'pydantic2'
}

/** How the server words its errors: a wrong field, a request that fails, a route that does not exist. */
export async function findErrorStyles (session: CheckSession, facts: CheckFacts): Promise<void> {
  const answers: RawAnswer[] = []
  // stable-diffusion.cpp takes any value and generates.
  if (rulesOf(facts.traits).overrideSettings !== null) {
    answers.push(await session.generate({ steps: 1, fields: { steps: 'many' } }))
  }
  answers.push(
    await session.ask('POST', '/sdapi/v1/png-info', JSON.stringify({ image: '' })),
    await session.ask('GET', '/sdapi/v1/stablequeue-check')
  )
  const styles = [...new Set(answers.map(errorStyleOf).filter(style => style !== null))]
  facts.learned.errorStyles = styles
  if (styles.length === 0) {
    addFinding(facts, 'errors', 'unknown', 'It reported no error for wrong requests, so how it words them is not known.')
    return
  }
  const told = `Errors come in ${styles.length === 1 ? 'this form' : 'these forms'}: ${styles.map(style => names[style]).join(', ')}.`
  if (styles.includes('html')) {
    addFinding(facts, 'errors', 'harm', `${told} Something in front of the server replaces its errors.`,
      'Let the proxy pass the errors of the server, such as proxy_intercept_errors off of nginx.')
  } else if (styles.includes('other')) {
    addFinding(facts, 'errors', 'note', `${told} Reasons of failures are possibly not shown.`)
  } else {
    addFinding(facts, 'errors', 'good', `${told} They are understood.`)
  }
}
