import { build, type Plugin } from 'esbuild'
import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import t from 'tap'
import ts from 'typescript'
import { quick, startService } from '../helper.ts'
import { inRepository } from '../root.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip } from './browser.ts'
import { overlapsIn } from './overlap.ts'

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
  'command line', 'admin-token', 'X-API-Key', 'X-API-Secret', 'webhookUrl'
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

  const strayIn = (code: string) => strayTexts('parts/x.tsx', code.replaceAll('§', '$'))
  for (const content of [
    '<p>No jobs yet.</p>', '<p>{count} jobs</p>', "<p>{empty ? 'none' : count}</p>", "<p>{busy && 'Sending…'}</p>", '<b title="Close" />',
    "<input placeholder='random' />", '<img alt={`Image §{index}`} />', '<Confirm title={`Delete §{name}?`} />'
  ]) t.equal(strayIn(`export const x = () => ${content}`).length, 1, content)
  for (const statement of ["say('Saved.')", "throw new Error('The image could not be read.')", "const labels = { pending: 'Waiting' }"]) {
    t.equal(strayIn(statement).length, 1, statement)
  }
  for (const code of [
    "<p class='muted small'>{t.none}</p>", "event.key === 'Escape'", "ask('GET', `/api/v2/jobs?§{query}`)", "<a href='#/queue' />"
  ]) t.strictSame(strayIn(`export const x = () => ${code}`), [], code)
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

t.test('a language with a missing, misspelled or wrong text does not compile', async t => {
  const language = (texts: string) => `
    import type { Catalogue, Language } from '${web}/texts/languages.ts'
    declare const rest: Omit<Language, 'settings'>
    declare const settings: Omit<Catalogue['settings'], 'off' | 'jobsRemoved'>
    export const other: Language = { ...rest, settings: ({ plural }) => ({ ...settings, ${texts} }) }
  `
  const files = {
    'whole.ts': language("off: 'Aus', jobsRemoved: count => plural(count, { one: '# Job', few: '# Joby', other: '# Jobs' })"),
    'missing.ts': language("off: 'Aus'"),
    'misspelled.ts': language("of: 'Aus', jobsRemoved: count => plural(count, { other: '#' })"),
    'section.ts': "import type { Language } from '" + web + "/texts/languages.ts'\n" +
      "declare const most: Omit<Language, 'job'>\nexport const other: Language = { ...most }",
    'wrong.ts': language("off: 'Aus', jobsRemoved: (count: string) => count"),
    'plural.ts': language("off: 'Aus', jobsRemoved: count => plural(count, { one: '# Job' })"),
    'use.ts': `import { t } from '${web}/texts/en/settings.ts'\nexport const used = [t.offf, t.jobsRemoved('1')]`
  }
  const folder = t.testdir({ ...files, 'tsconfig.json': JSON.stringify({ extends: join(web, 'tsconfig.json'), include: ['*.ts'] }) })
  const compiler = inRepository('node_modules/@typescript/native/bin/tsc')
  const { stdout } = await promisify(execFile)(process.execPath, [compiler, '-p', folder, '--rootDir', '/', '--pretty', 'false'])
    .catch(error => error as { stdout: string })
  const refused = new Set(stdout.split('\n').map(line => /([\w-]+\.ts)\(/.exec(line)?.[1] ?? '').filter(Boolean))
  t.strictSame([...refused].toSorted(), Object.keys(files).filter(name => name !== 'whole.ts').toSorted(), stdout)
  t.match(stdout, /use\.ts\(2,.*offf/)
})

/**
 * The pages with a second language, whose texts are those of English between marks, and 40 % longer: what has no marks
 * is not translated, and what overlaps has no room for other languages.
 */
async function buildWithSecondLanguage (): Promise<(name: string) => string> {
  const languages: Plugin = {
    name: 'languages',
    setup ({ onLoad }) {
      onLoad({ filter: /texts\/languages\.ts$/ }, () => ({
        loader: 'ts',
        contents: `
          const longer = (text: string) => /[a-z]/i.test(text) ? '⟦' + text + 'ÿ'.repeat(Math.ceil(text.length * 0.4)) + '⟧' : text
          const marked = (value: unknown): unknown => typeof value === 'string'
            ? longer(value)
            : Array.isArray(value) ? value.map(marked) : value
          const translated = (_: unknown, english: object) => Object.fromEntries(Object.entries(english).map(([key, text]) =>
            [key, typeof text === 'function' ? (...given: unknown[]) => marked(text(...given)) : marked(text)]))
          const language = new Proxy({}, { get: (_, name) => name === 'then' ? undefined : translated })
          export const languages = { 'en-XA': { name: 'Longer', load: async () => ({ default: language }) } }
        `
      }))
    }
  }
  const { outputFiles } = await build({
    absWorkingDir: web,
    entryPoints: ['./main.tsx'],
    outdir: 'ui',
    bundle: true,
    splitting: true,
    format: 'esm',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    write: false,
    plugins: [languages]
  })
  const scripts = new Map(outputFiles.map(({ path, text }) => [basename(path), text]))
  return name => scripts.get(name) ?? scripts.get('main.js') ?? ''
}

/** Names of controls and headings that do not come from the second language. */
async function unmarked (page: Page): Promise<string[]> {
  return await page.evaluate(`(() => {
    const texts = [...document.querySelectorAll('h1, h2, button, label, legend, summary, dt, nav a, .empty, .lead, option')]
      .map(element => element.getAttribute('aria-label') ?? element.textContent)
    const named = [...document.querySelectorAll('[aria-label], [title], [placeholder], [alt]')].flatMap(element =>
      ['aria-label', 'title', 'placeholder', 'alt'].map(name => element.getAttribute(name) ?? ''))
    return [...new Set([...texts, ...named])].filter(text => /[a-z]{2}/i.test(text) && !text.includes('⟦'))
  })()`) as string[]
}

t.test('a second language is used on every page, and texts that are 40 % longer have room', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t)
  const id = await service.submit({ ...quick, prompt: 'a lighthouse' })
  await service.until(id, 'completed')
  const scriptOf = await buildWithSecondLanguage()
  // Names of the server's choices, which appear once the page has read them.
  const choices = new Set((await Promise.all(['samplers', 'schedulers'].map(async kind =>
    (await service.request('GET', `/sdapi/v1/${kind}`)).body as unknown as Array<{ name: string, label?: string }>)))
    .flat().flatMap(({ name, label = name }) => [name, label]))
  for (const [width, height] of [[1280, 900], [360, 740]] as const) {
    const { page, violations } = await visit('about:blank', { viewport: { width, height }, locale: 'en-XA' })
    await page.route('**/ui/*.js', async route => {
      await route.fulfill({ contentType: 'text/javascript', body: scriptOf(basename(route.request().url())) })
    })
    for (const name of ['queue', 'queue?status=all', 'create', 'gallery', 'models', 'servers?add=1', 'keys', 'webhooks', 'webhooks/secrets', 'settings',
      'access', `job/${id}`]) {
      await page.goto(`${service.url}/#/${name}`)
      await page.locator('h1', { hasText: '⟧' }).waitFor()
      await page.getByText('Loading…').first().waitFor({ state: 'detached' })
      const data = /lighthouse|^Main|simulator|any server|\.safetensors|^Euler|^DPM|^LMS|^Heun|x\d$|^\w+ \d|^[A-Z][A-Z_]+$|^UniPC|Karras|^\d|^(?:job|webhook)\.|, 20\d\d /i
      t.strictSame((await unmarked(page)).filter(text => !data.test(text) && !choices.has(text)), [], `${name} at ${width}`)
      t.strictSame(await overlapsIn(page), [], `nothing overlaps: ${name} at ${width}`)
      // The layout of wide windows has the same names, and its places are checked above.
      if (width > 360) continue
      // Marks and filling stand between a visible word and the same word in a longer name. The colours are those that
      // pages.test.ts looks at.
      const findings = await seriousFindings(page, ['label-content-name-mismatch', 'color-contrast'])
      t.strictSame(findings, [], `axe: ${name} at ${width}`)
    }
    t.equal(await page.evaluate('document.documentElement.lang'), 'en-XA')
    t.strictSame(violations, [])
  }
  const { page } = await visit(service.url, { locale: 'fr-FR' })
  await page.getByRole('heading', { name: 'Queue', exact: true }).waitFor()
  t.equal(await page.evaluate('document.documentElement.lang'), 'en', 'a language that we do not have is English')
})
