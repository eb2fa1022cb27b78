import { h, type ComponentChildren, type VNode } from 'preact'

/**
 * Simple HTML from strangers as our own markup: text, paragraphs, lists, emphasis and links to https. Everything else
 * is dropped. The browser never gets it as HTML.
 */

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }
const kept: Readonly<Record<string, string>> = {
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
interface Node {
  readonly tag: string
  readonly href: string | null
  readonly children: Array<Node | string | VNode>
}

/** Elements whose text is dropped too. */
const silent = new Set(['script', 'style', 'template', 'iframe', 'noscript', 'svg', 'math', 'title', 'textarea'])
const deepest = 20

/** @returns children for a component */
export function richText (text: string): ComponentChildren[] {
  const root: Node = { tag: '', href: null, children: [] }
  const open = [root]
  let hidden = ''
  for (const [token, closing, rawName, attributes] of text.matchAll(/<(\/?)([a-zA-Z][\w-]*)(?![\w-])((?:"[^"]*"|'[^']*'|[^'"<>])*)>|<!--[\s\S]*?-->|[^<]+|</g)) {
    const name = rawName?.toLowerCase()
    if (hidden !== '') {
      if (closing && name === hidden) hidden = ''
    } else if (name === undefined) {
      if (!token.startsWith('<!--')) open.at(-1)?.children.push(decode(token))
    } else if (silent.has(name)) {
      if (!closing) hidden = name
    } else if (name === 'br') open.at(-1)?.children.push(<br />)
    else if (closing) close(open, kept[name])
    else {
      const tag = kept[name]
      if (tag === undefined || open.length >= deepest) continue
      const node: Node = { tag, href: hrefOf(attributes ?? ''), children: [] }
      open.at(-1)?.children.push(node)
      open.push(node)
    }
  }
  return root.children.map(render)
}

function close (open: Node[], tag: string | undefined) {
  const at = open.findLastIndex(node => node.tag === tag)
  if (at > 0) open.length = at
}

function render (node: Node | string | VNode): ComponentChildren {
  if (typeof node === 'string' || !('tag' in node)) return node
  const inside = node.children.map(render)
  if (node.tag !== 'a') return h(node.tag, null, inside)
  return node.href === null ? inside : <a href={node.href} target='_blank' rel='noopener noreferrer nofollow'>{inside}</a>
}

function hrefOf (attributes: string) {
  const [, , value] = /\shref\s*=\s*(["'])(.*?)\1/i.exec(attributes) ?? []
  const address = decode(value ?? '')
  return URL.canParse(address) && new URL(address).protocol === 'https:' ? address : null
}

function decode (text: string) {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,6}));/gi, (all, decimal, hexadecimal, name) => {
    if (name !== undefined) return entities[name.toLowerCase()] ?? all
    const code = decimal === undefined ? Number.parseInt(hexadecimal, 16) : Number(decimal)
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : all
  })
}
