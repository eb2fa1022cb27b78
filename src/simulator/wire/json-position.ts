/** Where and why a text stops being JSON, as Python's decoder would say. */
export interface JsonMistake {
  readonly message: string
  readonly position: number
  readonly line: number
  readonly column: number
}

/** Finds the mistake in a text that `JSON.parse` refuses. */
export function locateJsonMistake (text: string): JsonMistake {
  const position = firstBadPosition(text)
  const before = text.slice(0, position)
  const line = before.split('\n').length
  return {
    message: explain(text, position),
    position,
    line,
    column: position - before.lastIndexOf('\n')
  }
}

function firstBadPosition (text: string): number {
  try {
    JSON.parse(text)
    return 0
  } catch (error) {
    const match = /position (\d+)/.exec(error instanceof Error ? error.message : '')
    if (match !== null) return Number(match[1])
    // V8 names no position when a text simply ends, nor for a short one that is wrong from the start
    return /end of JSON/.test(String(error)) ? text.length : Math.max(0, text.search(/\S/))
  }
}

function explain (text: string, position: number): string {
  const before = text.slice(0, position).trimEnd()
  if (before.endsWith('{') || (before.endsWith(',') && !before.includes('['))) {
    return 'Expecting property name enclosed in double quotes'
  }
  if (/^\s*([}\]]|"[^"]*"|\d+)\s*\S/.test(text) && position > 0 && !before.includes('{')) return 'Extra data'
  if (/"\s*$/.test(before) && /[{,]\s*"[^"]*"$/.test(before)) return "Expecting ':' delimiter"
  if (/["\d}\]el]$/.test(before)) return "Expecting ',' delimiter"
  return 'Expecting value'
}
