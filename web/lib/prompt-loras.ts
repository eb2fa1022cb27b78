/** The LoRAs in a prompt, in A1111's syntax: `<lora:name:weight>`. */

const tag = /<(lora|lyco):([^:<>]+)(?::([^<>]*))?>/gi

/** @returns index counts the tags of the prompt */
export function lorasIn (prompt: string) {
  return [...prompt.matchAll(tag)].map(([, , name, weight = '1'], index) => {
    const number = Number.parseFloat(weight)
    return { name, weight: Number.isNaN(number) ? 1 : number, index }
  })
}

/** The prompt with one more LoRA. */
export function withLora (prompt: string, name: string, weight: number, words: readonly string[] = []) {
  const missing = words.filter(word => word !== '' && !prompt.toLowerCase().includes(word.toLowerCase()))
  return [prompt.trim(), ...missing, `<lora:${name}:${weight}>`].filter(part => part !== '').join(', ')
}

/** The prompt with another weight for one of its tags. */
export function withWeight (prompt: string, index: number, weight: string) {
  return replaceTag(prompt, index, (_whole, kind, name) => `<${kind}:${name}:${weight}>`)
}

/** The prompt without one of its tags and the comma before it. */
export function withoutLora (prompt: string, index: number) {
  const mark = '\u0000'
  const [before = '', after = ''] = replaceTag(prompt, index, () => mark).split(mark, 2)
  return (before.trimEnd().replace(/,$/, '') + after).replace(/^,\s*/, '').trim()
}

/** The prompt with another name for a LoRA. */
export function withOtherLora (prompt: string, wrong: string, right: string) {
  return prompt.replace(tag, (whole, kind, name, weight = '1') => name === wrong ? `<${kind}:${right}:${weight}>` : whole)
}

function replaceTag (
  prompt: string, wanted: number, replacement: (whole: string, kind: string, name: string) => string
) {
  let index = -1
  return prompt.replace(tag, (whole: string, kind: string, name: string) =>
    ++index === wanted ? replacement(whole, kind, name) : whole)
}
