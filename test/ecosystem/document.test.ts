import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { startService } from '../helper.ts'
import { startFakeCivitai } from '../models/fake-civitai.ts'
import { tool } from './tool.ts'

const linters = tool('documentLinters')
const schemathesis = tool('schemathesis')
const civitai = await startFakeCivitai(t)
const token = 'a-token-for-schemathesis'
const service = await startService(t, {
  settings: {
    AUTH_TOKEN: token,
    UI_AUTH: 'token',
    RATE_LIMIT_PER_MINUTE: '0',
    CIVITAI_BASE_URL: civitai.url,
    CIVITAI_INTERVAL_SECONDS: '0.01'
  }
})
const folder = mkdtempSync(join(tmpdir(), 'sq-document-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const documentUrl = `${service.url}/openapi.json`

/** Asynchronous, because the service answers in this process. Returns what a program says if it fails. */
async function problems (program: string, parameters: readonly string[]): Promise<string> {
  try {
    await promisify(execFile)(program, parameters, { cwd: folder, timeout: 600_000, maxBuffer: 64 * 1024 * 1024 })
    return ''
  } catch (error) {
    const { message, stdout = '' } = error as Error & { stdout?: string }
    return stdout === '' ? message : stdout.slice(-20_000)
  }
}

t.test('the linters of Redocly and Stoplight find no error in the document', { skip: linters.skip }, async t => {
  const bin = (name: string) => join(linters.path, 'node_modules/.bin', name)
  writeFileSync(join(folder, 'openapi.json'), JSON.stringify(service.app.swagger()))
  writeFileSync(join(folder, 'ruleset.yaml'), 'extends: ["spectral:oas"]\n')
  t.equal(await problems(bin('redocly'), ['lint', 'openapi.json']), '', 'redocly')
  t.equal(await problems(bin('spectral'), ['lint', '--ruleset', 'ruleset.yaml', '--fail-severity', 'error', 'openapi.json']), '',
    'spectral')
})

t.test('answers to whatever schemathesis sends are as documented, and never our own fault', { skip: schemathesis.skip }, async t => {
  // One worker: with two, Python 3.11 fails now and then (python/cpython#106905, "AST constructor recursion depth").
  const found = await problems(schemathesis.path, ['-m', 'schemathesis.cli', 'run', documentUrl,
    '--header', `Authorization: Bearer ${token}`, '--phases', 'examples,coverage,fuzzing', '--max-time', '90', '--workers', '1',
    '--seed', '20261130', '--request-timeout', '60', '--continue-on-failure', '--no-color', '--checks', [
      'not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance',
      'response_schema_conformance', 'missing_required_header', 'unsupported_method', 'allow_header_conformance'
    ].join(','),
    // Streams of events do not end.
    '--exclude-path-regex', '/events$'])
  t.equal(found, '')
})
