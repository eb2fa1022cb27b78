import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { inRepository } from '../root.ts'

const page = '<h1>1</h1><link href="ui/{icon}"><link href="ui/{manifest}"><link href="ui/{style}"><script src="ui/{main}"></script></head>'

/** A checkout with a small web UI. */
function makeCheckout (t: Test) {
  const root = t.testdir({
    src: {},
    web: {
      'index.html': page,
      'icon.svg': '<svg/>',
      'manifest.webmanifest': '{ "icons": [{ "src": "{icon}" }] }',
      'main.tsx': "import { shared } from './shared.ts'\n" +
        "export const Main = () => <p>{shared('main')}</p>\nimport('./one.tsx')\nimport('./two.tsx')\nimport('./three.tsx')",
      'service-worker': { 'service-worker.ts': 'export const kept = [version, ...firstFiles]\nconsole.log(kept)' },
      'shared.ts': "import { h } from 'preact'\nimport { inMain } from './in-main.ts'\n" +
        'export const shared = (text: string) => h(text, inMain)',
      'in-main.ts': "export const inMain = { title: 'in main' }",
      'one.tsx': "import { shared } from './shared.ts'\nexport const One = () => shared('one')",
      'two.tsx': "import { inMain } from './in-main.ts'\nexport const Two = () => <p {...inMain}>two</p>",
      'three.tsx': 'export const Three = () => <p>three</p>',
      style: { 'index.css': "@import './a.css';", 'a.css': 'a { color: red }' },
      'README.md': '',
      screenshots: { 'queue.png': '' }
    }
  })
  const builds = join(root, 'dist/web')
  cpSync(inRepository('src/build-web.mjs'), join(root, 'src/build-web.mjs'))
  return {
    folders: () => readdirSync(builds).filter(name => name !== 'current.json'),
    path: (...names: string[]) => join(builds, ...names),
    write: (text: string) => writeFileSync(join(root, 'web/index.html'), text),
    /** Builds and returns the files that the service reads. */
    async build () {
      await promisify(execFile)(process.execPath, [join(root, 'src/build-web.mjs')])
      return JSON.parse(readFileSync(join(builds, 'current.json'), 'utf8')) as { folder: string, hashes: Record<string, string> }
    }
  }
}

t.test('the build of the web UI contains few files, named by their content, and compressed copies of each', async t => {
  const { build, path } = makeCheckout(t)
  const { folder, hashes } = await build()
  const read = (name: string) => readFileSync(path(folder, name), 'utf8')
  const names = Object.keys(hashes)
  t.same(names.map(name => name.replace(/-[\w-]{8}\./, '.')).toSorted(),
    ['chunk.js', 'icon.svg', 'index.html', 'manifest.webmanifest', 'one.js', 'service-worker.js', 'style.css', 'three.js', 'two.js'],
    'all that the first page needs is one file, whatever the other pages share with it')
  for (const name of names) {
    t.same(gunzipSync(readFileSync(path(folder, `${name}.gz`))), readFileSync(path(folder, name)), name)
    t.same(brotliDecompressSync(readFileSync(path(folder, `${name}.br`))), readFileSync(path(folder, name)), name)
  }
  const html = read('index.html')
  for (const name of names.filter(name => /^(?:chunk|style|icon|manifest)/.test(name))) t.match(html, `"ui/${name}"`)
  t.match(read(names.find(name => name.startsWith('chunk')) ?? ''), 'in main')
  const first = names.filter(name => /^(?:chunk|style|icon|manifest)/.test(name))
  for (const name of first) t.match(read('service-worker.js'), `"ui/${name}"`, 'the service worker keeps what the page names')
  t.notMatch(names.filter(name => name.endsWith('.js')).map(read).join(), 'sourceMappingURL')
  t.notOk(existsSync(path(folder, 'screenshots')))
})

t.test('a running process keeps its files while others build', async t => {
  const { build, folders, path, write } = makeCheckout(t)
  const first = await build()
  write(page.replace('1', '2'))
  const second = await build()
  t.not(second.folder, first.folder)
  t.not(second.hashes['index.html'], first.hashes['index.html'])
  t.same(await build(), second, 'a build without a change changes nothing')
  t.match(readFileSync(path(first.folder, 'index.html'), 'utf8'), '<h1>1</h1>')
  write(page.replace('1', '3'))
  const third = await build()
  write(page.replace('1', '4'))
  const fourth = await build()
  const all = [first, second, third, fourth].map(({ folder }) => folder)
  t.same(folders().toSorted(), all.toSorted(), 'however many builds follow')
  const aDayAgo = new Date(Date.now() - 25 * 3_600_000)
  for (const { folder } of [first, fourth]) utimesSync(path(folder), aDayAgo, aDayAgo)
  write(page.replace('1', '5'))
  const fifth = await build()
  t.same(folders().toSorted(), [...all.slice(1), fifth.folder].toSorted(), 'one that was replaced a day ago is removed')
})

t.test('parallel builds do not disturb each other', async t => {
  const { build, folders, path } = makeCheckout(t)
  const [one, other] = await Promise.all([build(), build()])
  t.same(one, other)
  t.same(folders(), [one.folder])
  rmSync(path('current.json'))
  t.same(await build(), one, 'a lost list is written again')
})
