import { access, readdir, readFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { inRepository } from '../root.ts'

/** Folders that are not in the repository or contain no pages of ours. */
const elsewhere = new Set(['node_modules', 'dist', 'data', 'coverage', '.git', '.tap'])

async function pagesBelow (folder: string): Promise<string[]> {
  const entries = await readdir(inRepository(folder), { withFileTypes: true })
  const found = await Promise.all(entries.map(async entry => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return elsewhere.has(entry.name) ? [] : await pagesBelow(path)
    return entry.name.endsWith('.md') ? [path] : []
  }))
  return found.flat()
}

/** A page without its code, where brackets are no links. */
function prose (page: string): string {
  return page.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, match => match.replace(/[[\]()]/g, ''))
}

/** The anchors of a page, as GitHub makes them from headings; the second one of a name gets -1. */
function anchors (page: string): string[] {
  const seen = new Map<string, number>()
  return [...page.replace(/^```.*?^```/gms, '').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
    const name = heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')
    const times = seen.get(name) ?? 0
    seen.set(name, times + 1)
    return times === 0 ? name : `${name}-${times}`
  })
}

function linksOf (page: string): string[] {
  return [...prose(page).matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = '']) => target)
    .filter(target => !/^[a-z]+:/.test(target))
}

const paths = await pagesBelow('')
const pages = new Map(await Promise.all(paths.map(async path =>
  [path, await readFile(inRepository(path), 'utf8')] as const)))

t.test('every relative link in Markdown leads to a file, and every anchor to a heading', async t => {
  t.ok(paths.length > 15, `${paths.length} pages`)
  for (const [path, page] of pages) {
    for (const link of linksOf(page)) {
      const [file = '', anchor] = link.split('#')
      const target = file === '' ? path : normalize(join(dirname(path), file))
      await t.resolves(access(inRepository(target)), `${path}: ${link}`)
      if (anchor !== undefined) t.ok(anchors(pages.get(target) ?? '').includes(anchor), `${path}: ${link}`)
    }
  }
})

t.test('the index of docs names every page', async t => {
  const index = linksOf(pages.get('docs/README.md') ?? '')
  for (const path of paths) {
    const [, name] = /^docs\/([^/]+)$/.exec(path) ?? []
    if (name !== undefined && name !== 'README.md') t.ok(index.includes(name), name)
  }
})

t.test('the README stays short: at most 200 lines', async t => {
  t.ok((pages.get('README.md') ?? '').split('\n').length <= 201)
})

t.test('every file and folder in CONTRIBUTING.md exists', async t => {
  const page = await readFile(inRepository('CONTRIBUTING.md'), 'utf8')
  const named = [...page.matchAll(/(?<![\w/.])(?:src|queues|plugins|schemas|test|bench|web)\/[\w./-]*\w/g)].map(([path]) => path)
  const paths = [...new Set(named)].filter(path => path !== 'test/jobs/x.test.ts')
  t.ok(paths.length > 40, `${paths.length} paths`)
  for (const path of paths) {
    const found = await Promise.any([path, `${path}.ts`].map(async name => { await access(inRepository(name)) })).then(() => true, () => false)
    t.ok(found, path)
  }
})
