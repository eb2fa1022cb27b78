import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { inRepository } from '../root.ts'

const web = inRepository('web')

/** Attributes that nobody reads. The value of all others is text for people if it looks like words. */
const codeAttributes = new Set([
  'class', 'type', 'role', 'name', 'id', 'href', 'key', 'for', 'rel', 'target', 'src', 'icon', 'autocomplete', 'autocapitalize', 'inputmode',
  'enterkeyhint', 'accept', 'loading', 'decoding', 'preload', 'kind', 'status', 'server', 'aria-labelledby', 'aria-describedby', 'aria-live', 'aria-hidden',
  'aria-current', 'aria-haspopup', 'aria-modal'
])
/** Names of keys, of browser interfaces and of values in the API, which look like words. */
const codeWords = new Set([
  'Enter', 'Escape', 'Delete', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'ApiError', 'Notification', 'Files', 'Latent', 'web ui', ' ahead of it',
  'command line', 'admin-token', 'X-API-Key', 'X-API-Secret', 'webhookUrl', 'Start image', 'Hires fix', 'Sampling', 'Picture', 'Model'
])
const hasWords = /\p{L}/u
/** `Delete`, `no prompt`, `All of them`: not `button` or `aria-label`. */
const looksLikeText = /^\p{Lu}\p{Ll}|\p{L}.* .*\p{L}|^\p{L}+[.!?…]$|^ .*\p{L}|\p{L}.* $/u
/** Selectors, paths, addresses, styles and the shapes of icons. */
const looksLikeCode = /^M[\d.]|[[\]{}<>=#]|^[./]|^https?:|^\w+-$|^[\w-]+, [\w, -]+$|px$/

function sourcesOf (folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map(entry => relative(web, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
}

function parse (name: string, text: string): ts.SourceFile {
  return ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true, name.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS)
}

/** The attribute that a value belongs to; undefined outside attributes. */
function attributeOf (node: ts.Node): string | undefined {
  for (let around = node.parent; around !== undefined && !ts.isJsxElement(around); around = around.parent) {
    if (ts.isJsxAttribute(around)) return around.name.getText()
    if (ts.isFunctionLike(around)) return undefined
  }
  return undefined
}

/** Whether an expression is shown as the content of an element, possibly as a branch of a condition. */
function isContent (node: ts.Node): boolean {
  const { parent } = node
  if (ts.isJsxExpression(parent)) return !ts.isJsxAttribute(parent.parent)
  if (ts.isParenthesizedExpression(parent)) return isContent(parent)
  if (ts.isConditionalExpression(parent)) return parent.condition !== node && isContent(parent)
  return ts.isBinaryExpression(parent) && ['&&', '||', '??'].includes(parent.operatorToken.getText()) &&
    parent.right === node && isContent(parent)
}

/** Whether a literal is compared or looked up, so that nobody reads it. */
function isCode (node: ts.Node): boolean {
  const { parent } = node
  return ts.isImportDeclaration(parent) || ts.isExportDeclaration(parent) || ts.isLiteralTypeNode(parent) ||
    ts.isCaseClause(parent) || ts.isElementAccessExpression(parent) || ts.isTaggedTemplateExpression(parent) ||
    (ts.isPropertyAssignment(parent) && parent.name === node) ||
    (ts.isBinaryExpression(parent) && ['===', '!==', 'in'].includes(parent.operatorToken.getText())) ||
    (ts.isCallExpression(parent) && ts.isIdentifier(parent.expression) && ['ask', 'inLanguage'].includes(parent.expression.text))
}

/** The texts in a file that people see and that no language can replace. */
function strayTexts (name: string, text: string): string[] {
  const source = parse(name, text)
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    const words = ts.isJsxText(node) || ts.isStringLiteralLike(node)
      ? node.text
      : ts.isTemplateExpression(node) ? [node.head, ...node.templateSpans.map(({ literal }) => literal)].map(part => part.text).join('0') : ''
    if (hasWords.test(words) && isShown(node, words)) {
      const { line } = source.getLineAndCharacterOfPosition(node.getStart())
      found.push(`web/${name}:${line + 1} ${words.trim()}`)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function isShown (node: ts.Node, words: string): boolean {
  if (ts.isJsxText(node)) return !codeWords.has(words.trim())
  if (isCode(node) || codeWords.has(words)) return false
  const attribute = attributeOf(node)
  if (attribute !== undefined && codeAttributes.has(attribute)) return false
  if (isContent(node) || ['title', 'alt', 'aria-label', 'placeholder', 'label', 'hint'].includes(attribute ?? '')) return true
  return looksLikeText.test(words) && !looksLikeCode.test(words)
}

t.test('every text of the pages is in the catalogue', async t => {
  const sources = sourcesOf(web).filter(name => !/^(?:screenshots|texts)\//.test(name))
  t.ok(sources.length > 100, String(sources.length))
  t.strictSame(sources.flatMap(name => strayTexts(name, readFileSync(join(web, name), 'utf8'))), [])

  for (const stray of [
    '<p>No jobs yet.</p>', "<p>{empty ? 'none' : count}</p>", "<input placeholder='random' />", '<img alt={`Image ${index}`} />',
    "say('Saved.')", "throw new Error('The image could not be read.')", '<Confirm title={`Delete ${name}?`} />',
    "const labels = { pending: 'Waiting' }", "<p>{count} jobs</p>", "<p>{busy && 'Sending…'}</p>", '<b title="Close" />'
  ]) t.equal(strayTexts('parts/x.tsx', `export const x = () => { return ${/^(?:throw|const)/.test(stray) ? `1; ${stray}` : stray} }`).length, 1, stray)
  for (const code of ["<p class='muted small'>{t.none}</p>", "event.key === 'Escape'", "ask('GET', `/api/v2/jobs?${query}`)", "<a href='#/queue' />"]) {
    t.strictSame(strayTexts('parts/x.tsx', `export const x = () => ${code}`), [], code)
  }
})

t.test('every text of the catalogue is used, and each section has the name of its file', async t => {
  const files = sourcesOf(join(web, 'texts/en'))
  const sources = sourcesOf(web).filter(name => !name.startsWith('texts/')).map(name => readFileSync(join(web, name), 'utf8'))
  t.ok(files.length >= 10)
  for (const file of files) {
    const text = readFileSync(join(web, file), 'utf8')
    const section = file.replace(/^.*\/|\.ts$/g, '')
    t.match(text, `inLanguage('${section}'`, file)
    const object = section === 'common' ? 'common' : 't'
    const users = sources.filter(source => source.includes(`texts/en/${section}.ts`))
    const keys = [...text.matchAll(/^ {2}(\w+): /gm)].map(match => match[1] ?? '')
    t.ok(keys.length > 20, file)
    const unused = keys.filter(key => !users.some(source => new RegExp(`\\b${object}\\.${key}\\b`).test(source)))
    t.strictSame(unused, [], file)
  }
})
