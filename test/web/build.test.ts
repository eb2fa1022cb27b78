import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { inRepository } from '../root.ts'

const page = '<h1>1</h1>'

/** A checkout with a small web UI. */
function makeCheckout (t: Test) {
  const root = t.testdir({
    src: {}, web: { 'index.html': page, 'README.md': '', lib: { 'one.js': 'export const one = 1' }, screenshots: { 'queue.png': '' } }
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

t.test('the build of the web UI contains each file and library, and a compressed copy of it', async t => {
  const { build, path } = makeCheckout(t)
  const { folder, hashes } = await build()
  t.same(Object.keys(hashes), ['index.html', 'lib/one.js', 'vendor/preact.js', 'vendor/hooks.js', 'vendor/htm.js'])
  for (const name of Object.keys(hashes)) {
    t.same(gunzipSync(readFileSync(path(folder, `${name}.gz`))), readFileSync(path(folder, name)), name)
  }
  t.match(readFileSync(path(folder, 'vendor/hooks.js'), 'utf8'), /from"\.\/preact\.js"/)
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
  t.equal(readFileSync(path(first.folder, 'index.html'), 'utf8'), page)
  write(page.replace('1', '3'))
  const third = await build()
  t.same(folders().toSorted(), [second.folder, third.folder].toSorted(), 'older ones are removed')
})

t.test('parallel builds do not disturb each other', async t => {
  const { build, folders, path } = makeCheckout(t)
  const [one, other] = await Promise.all([build(), build()])
  t.same(one, other)
  t.same(folders(), [one.folder])
  rmSync(path('current.json'))
  t.same(await build(), one, 'a lost list is written again')
})
