import t from 'tap'
import { text } from 'node:stream/consumers'
import type { Transform } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { inRepository } from './root.ts'

/** The reporter's output for a run, line by line. */
async function report (tap: string, environment: { CI?: string } = {}): Promise<string[]> {
  // Plain JavaScript, because tap loads it without a compiler.
  const address: string = pathToFileURL(inRepository('test/reporter.mjs')).href
  const { default: Reporter }: { default: new (environment: { CI?: string }) => Transform } = await import(address)
  const reporter = new Reporter(environment)
  const printed = text(reporter)
  reporter.end(`TAP version 14\n${tap}`)
  return (await printed).trimEnd().split('\n')
}

const file = (lines: string, result = 'ok') =>
  `# Subtest: test/a.test.ts\n${lines.replace(/^(?=.)/gm, '    ')}${result} 1 - test/a.test.ts # time=12.5ms\n`

t.test('innermost tests are counted, not their assertions or the files around them', async t => {
  const lines = await report(file(
    '# Subtest: outer\n    # Subtest: inner\n        ok 1 - yes\n        ok 2 - yes\n        1..2\n    ok 1 - inner\n' +
    '    1..1\nok 1 - outer\n# Subtest: second\n    ok 1 - yes\n    1..1\nok 2 - second\n1..2\n') + '1..1\n')
  t.same(lines, ['ok test/a.test.ts (2 tests, 13 ms)', '2 passed, 0 failed'])
})

t.test('a failed assertion fails its test once, and the report shows its location and difference', async t => {
  const failure = 'not ok 1 - should be equal\n  ---\n  at:\n    fileName: test/a.test.ts\n    lineNumber: 7\n' +
    '    columnNumber: 3\n  diff: |\n    -1\n    +2\n  ...\n'
  const lines = await report(file(
    `# Subtest: wrong\n${`${failure}not ok 2 - also\n1..2\n`.replace(/^(?=.)/gm, '    ')}not ok 1 - wrong\n1..1\n`, 'not ok') + '1..1\n')
  t.match(lines.join('\n'), /failed: test\/a\.test\.ts > wrong > should be equal\n {2}at test\/a\.test\.ts:7:3\n {4}-1\n {4}\+2/)
  t.equal(lines.at(-1), '0 passed, 1 failed')
})

t.test('a file that crashes, ends early or exits with an error code is a failure', async t => {
  t.equal((await report('not ok 1 - test/a.test.ts\n  ---\n  exitCode: 1\n  ...\n1..1\n')).at(-1), '0 passed, 1 failed')
  const fine = '# Subtest: fine\n    ok 1 - yes\n    1..1\nok 1 - fine\n1..1\n'
  const lines = await report(file(fine, 'not ok') + '  ---\n  exitCode: 3\n  ...\n1..1\n')
  t.match(lines.join('\n'), /failed: test\/a\.test\.ts\n {4}exitCode: 3/)
  t.equal(lines.at(-1), '1 passed, 1 failed')
  t.equal((await report('Bail out! no disk\n')).at(-1), '0 passed, 1 failed')
})

t.test('skipped tests are listed, and are failures in CI', async t => {
  const skipping = file('ok 1 - needs chromium # SKIP not installed\n# Subtest: fine\n    ok 1 - yes\n    1..1\nok 2 - fine\n1..2\n') + '1..1\n'
  t.same((await report(skipping)).slice(-2), [
    'skipped: test/a.test.ts > needs chromium (not installed)', '1 passed, 0 failed'
  ])
  t.equal((await report(skipping, { CI: 'true' })).at(-1), '1 passed, 1 failed')
})
