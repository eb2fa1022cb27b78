/** Title under which the Regional Prompter takes its arguments; servers find it in any case. */
export const regionalPrompter = 'Regional Prompter'

/** `<lora:name:weight>` and its like, which name a file of the server. */
export const networkTag = /<(?:lora|lyco|hypernet):([^:<>]+)(?::[^<>]*)?>/gi

/** Words by which the extension divides a prompt, found in any case in the positive prompt, also inside other words. */
export const signalWords = /add(?:p|col|row)/i
/** Those that it only finds in capitals. */
const capitalSignals = /ADDCOMM|ADDBASE|BREAK/
/** The same with `AND`, which becomes `BREAK` unless an option keeps it, and mixes prompts in A1111 itself. */
export const capitalWords = /ADD(?:P|COL|ROW|COMM|BASE)|BREAK|AND/

/** Whether the extension takes `AND` for an order of its own. */
export type AndMeaning = 'divides' | 'stays'

/** What the extension would take for an order in a text that means none, such as the name of a file; null without. */
export function signalIn (text: string, and: AndMeaning): string | null {
  const found = signalWords.exec(text) ?? capitalSignals.exec(text) ?? (and === 'divides' ? /AND/.exec(text) : null)
  return found?.[0] ?? null
}
