import { html } from './html.js'

/**
 * Simple HTML from strangers as our own markup: text, paragraphs, lists, emphasis and links to https. Everything else
 * is dropped. The browser never gets it as HTML.
 */

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }
const kept = {
  p: 'p',
  ul: 'ul',
  ol: 'ol',
  li: 'li',
  b: 'strong',
  strong: 'strong',
  i: 'em',
  em: 'em',
  code: 'code',
  pre: 'pre',
  h1: 'h4',
  h2: 'h4',
  h3: 'h4',
  h4: 'h4',
  h5: 'h4',
  h6: 'h4',
  a: 'a'
}
/** Elements whose text is dropped too. */
const silent = new Set(['script', 'style', 'template', 'iframe', 'noscript', 'svg', 'math', 'title', 'textarea'])
const deepest = 20

/** @param {string} text @returns {Array<string | object>} children for a component */
export function richText (text) {
  const root = { tag: '', children: [] }
  const open = [root]
  let hidden = ''
  for (const [token, closing, rawName, attributes] of text.matchAll(/<(\/?)([a-zA-Z][\w-]*)(?![\w-])((?:"[^"]*"|'[^']*'|[^'"<>])*)>|<!--[\s\S]*?-->|[^<]+|</g)) {
    const name = rawName?.toLowerCase()
    if (hidden !== '') {
      if (closing && name === hidden) hidden = ''
    } else if (name === undefined) {
      if (!token.startsWith('<!--')) open.at(-1).children.push(decode(token))
    } else if (silent.has(name)) {
      if (!closing) hidden = name
    } else if (name === 'br') open.at(-1).children.push(html`<br />`)
    else if (closing) close(open, kept[name])
    else if (kept[name] !== undefined && open.length < deepest) {
      const node = { tag: kept[name], href: hrefOf(attributes ?? ''), children: [] }
      open.at(-1).children.push(node)
      open.push(node)
    }
  }
  return root.children.map(render)
}

function close (open, tag) {
  const at = open.findLastIndex(node => node.tag === tag)
  if (at > 0) open.length = at
}

function render (node) {
  if (typeof node === 'string' || node.tag === undefined) return node
  const inside = node.children.map(render)
  if (node.tag !== 'a') return html`<${node.tag}>${inside}<//>`
  return node.href === null ? inside : html`<a href=${node.href} target="_blank" rel="noopener noreferrer nofollow">${inside}</a>`
}

function hrefOf (attributes) {
  const [, , value] = /\shref\s*=\s*(["'])(.*?)\1/i.exec(attributes) ?? []
  const address = decode(value ?? '')
  return URL.canParse(address) && new URL(address).protocol === 'https:' ? address : null
}

function decode (text) {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,6}));/gi, (all, decimal, hexadecimal, name) => {
    if (name !== undefined) return entities[name.toLowerCase()] ?? all
    const code = decimal === undefined ? Number.parseInt(hexadecimal, 16) : Number(decimal)
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : all
  })
}
