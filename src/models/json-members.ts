import { applyEdits, modify, parseTree, type FormattingOptions } from 'jsonc-parser'
import { randomUUID } from 'node:crypto'
import { stringifyJson } from '../lib/exact-json.ts'

/** Members of a JSON object and their new values; undefined takes a member away. */
export type MemberChanges = Readonly<Record<string, unknown>>

/** A value as another file writes it, to be written the same. */
export class WrittenJson {
  readonly text: string

  constructor (text: string) { this.text = text }
}

/** The values of a JSON object's members as they are written there. */
export function writtenMembers (text: string): Map<string, WrittenJson> {
  const members = parseTree(text)?.children ?? []
  return new Map(members.flatMap(({ children: [name, value] = [] }) => name === undefined || value === undefined
    ? []
    : [[String(name.value), new WrittenJson(text.slice(value.offset, value.offset + value.length))]]))
}

/** How a file looks that is begun here: as Forge writes its own. */
const usualIndent = '    '

/**
 * The text of a JSON object with these members changed. All else stays as it is written, letter for letter: parsing
 * and writing it again would round numbers and drop what only other programs understand.
 * @param text a valid JSON object, or nothing
 */
export function withMembers (text: string, changes: MemberChanges): string {
  let changed = text.trim() === '' ? '{}\n' : text
  const [, indent = usualIndent] = /^\{\s*?\n([ \t]+)"/.exec(changed.trimStart()) ?? []
  const formattingOptions: FormattingOptions = {
    insertSpaces: !indent.includes('\t'),
    tabSize: indent.includes('\t') ? 4 : indent.length,
    eol: changed.includes('\r\n') ? '\r\n' : '\n'
  }
  const written = new Map<string, string>()
  for (const [name, value] of Object.entries(changes)) {
    // of several members with one name the last counts for those who read it
    for (let spare = countOf(changed, name) - 1; spare > 0; spare--) changed = without(changed, name, formattingOptions)
    if (value === undefined) {
      changed = without(changed, name, formattingOptions)
    } else {
      const mark = `value ${randomUUID()}`
      changed = applyEdits(changed, modify(changed, [name], mark, { formattingOptions }))
      const lines = stringifyJson(value, null, indent.length).split('\n')
      written.set(`"${mark}"`, value instanceof WrittenJson ? value.text : lines.join(`${formattingOptions.eol}${indent}`))
    }
  }
  for (const [mark, value] of written) changed = changed.replace(mark, () => value)
  return changed
}

function without (text: string, name: string, formattingOptions: FormattingOptions): string {
  return applyEdits(text, modify(text, [name], undefined, { formattingOptions }))
}

function countOf (text: string, name: string): number {
  const members = parseTree(text)?.children ?? []
  return members.filter(member => member.children?.[0]?.value === name).length
}
