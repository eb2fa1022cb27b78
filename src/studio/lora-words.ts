import { withoutTags } from '../lib/text.ts'
import { bareName } from '../a1111/names.ts'

/** Words in file names that say what a LoRA is about. */
const telling = new Set([
  'realistic', 'anime', 'manga', 'cartoon', '3d', '2d', 'portrait', 'landscape', 'concept', 'style', 'art', 'character',
  'outfit', 'pose', 'background'
])

function wordsOf (filename: string): string[] {
  return bareName(filename).split(/[\s_-]+/).filter(word => word !== '')
}

/** A file name as people would write it: words, without versions and hashes. */
export function displayName (filename: string): string {
  const words = wordsOf(filename).filter(word => !/^v\d[\d.]*$/i.test(word) && !/^[0-9a-f]{8,}$/i.test(word))
  return words.length === 0 ? bareName(filename) : words.map(word => word.charAt(0).toUpperCase() + word.slice(1)).join(' ')
}

/** Tags for a LoRA of which nothing else is known. */
export function tagsOfName (filename: string): string[] {
  return [...new Set(wordsOf(filename).map(word => word.toLowerCase()).filter(word => telling.has(word)))]
}

/** Text without the HTML that Civitai's descriptions have. */
export function plainText (html: string): string {
  return withoutTags(html.replace(/<br\s*\/?>|<\/(?:p|li|h\d)>/gi, '\n'), '')
    .replace(/&(amp|lt|gt|quot|#39);/g, (_whole, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"' })[name] ?? "'")
    .replace(/\n{3,}/g, '\n\n').trim()
}
