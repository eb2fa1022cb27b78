/** Saved styles, as GET /sdapi/v1/prompt-styles shows them. */
export const promptStyles = [
  { name: 'Cinematic', prompt: 'cinematic still of {prompt}, film grain, shallow depth of field', negative_prompt: 'cartoon' },
  { name: 'Watercolour', prompt: 'watercolour painting, soft edges', negative_prompt: 'photo, sharp' },
  { name: 'Clean', prompt: '', negative_prompt: 'blurry, low quality, watermark' }
] as const

/** Forge has two files of styles, each under a line of its own that has no prompts. */
export const forgeStyles = [
  { name: divider('STYLES'), prompt: null, negative_prompt: null }, ...promptStyles,
  { name: divider('STYLES_INTEGRATED'), prompt: null, negative_prompt: null }
]

function divider (name: string): string {
  const text = ` ${name} `
  return text.padStart(Math.floor((40 + text.length) / 2), '-').padEnd(40, '-')
}

/** Merges styles into both prompts: in place of `{prompt}`, or behind a comma; unknown names change nothing. */
export function applyStyles (
  prompt: string, negativePrompt: string, names: readonly string[]
): { prompt: string, negativePrompt: string } {
  const styles = names.flatMap(name => promptStyles.filter(style => style.name === name))
  return {
    prompt: styles.reduce<string>((text, style) => merge(text, style.prompt), prompt),
    negativePrompt: styles.reduce<string>((text, style) => merge(text, style.negative_prompt), negativePrompt)
  }
}

function merge (text: string, style: string): string {
  if (style.includes('{prompt}')) return style.replaceAll('{prompt}', text)
  return [text.trim(), style.trim()].filter(part => part !== '').join(', ')
}
