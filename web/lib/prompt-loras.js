/** The LoRAs in a prompt, in A1111's syntax: `<lora:name:weight>`. */

const tag = /<(lora|lyco):([^:<>]+)(?::([^<>]*))?>/gi

/** @returns {Array<{ name: string, weight: number, index: number }>} index counts the tags of the prompt */
export function lorasIn (prompt) {
  return [...prompt.matchAll(tag)].map(([, , name, weight = '1'], index) => {
    const number = Number.parseFloat(weight)
    return { name, weight: Number.isNaN(number) ? 1 : number, index }
  })
}

/** The prompt with one more LoRA. */
export function withLora (prompt, name, weight, words = []) {
  const missing = words.filter(word => word !== '' && !prompt.toLowerCase().includes(word.toLowerCase()))
  return [prompt.trim(), ...missing, `<lora:${name}:${weight}>`].filter(part => part !== '').join(', ')
}

/** The prompt with another weight for one of its tags. */
export function withWeight (prompt, index, weight) {
  return replaceTag(prompt, index, (whole, kind, name) => `<${kind}:${name}:${weight}>`)
}

/** The prompt without one of its tags and the comma before it. */
export function withoutLora (prompt, index) {
  const mark = '\u0000'
  const [before = '', after = ''] = replaceTag(prompt, index, () => mark).split(mark, 2)
  return (before.trimEnd().replace(/,$/, '') + after).replace(/^,\s*/, '').trim()
}

/** The prompt with another name for a LoRA. */
export function withOtherLora (prompt, wrong, right) {
  return prompt.replace(tag, (whole, kind, name, weight = '1') => name === wrong ? `<${kind}:${right}:${weight}>` : whole)
}

function replaceTag (prompt, wanted, replacement) {
  let index = -1
  return prompt.replace(tag, (...match) => ++index === wanted ? replacement(...match) : match[0])
}
