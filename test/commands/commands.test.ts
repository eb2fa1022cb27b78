import t from 'tap'
import { execFile, spawnSync } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startService } from '../helper.ts'
import { inRepository } from '../root.ts'
import { run as runAnywhere, type RunOptions } from './helper.ts'

const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
const environment = { STABLEQUEUE_URL: service.url }
const run = async (argv: readonly string[], options: RunOptions = {}) =>
  await runAnywhere(argv, { environment, ...options })
const small = ['--steps', '2', '--size', '64x64']
const idIn = (text: string) => /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(text)?.[0] ?? ''

t.test('submit waits for the images and prints their addresses', async t => {
  const { code, out, notes } = await run(['submit', 'a lighthouse', ...small, '--seed', '18446744073709551615', '--server', 'Main'])
  t.equal(code, 0, notes)
  t.match(out, /^http:\/\/127\.0\.0\.1:\d+\/outputs\/\S+\.png\n$/)
  t.equal((await fetch(out.trim())).status, 200)
  const job = await service.job(idIn(notes))
  t.match(job, { app_type: 'command-line', target_server_alias: 'Main', generation_params: { prompt: 'a lighthouse', steps: 2, width: 64, height: 64 } })
  t.equal(job.images.length, 1)
  t.match(await run(['submit', 'exact', ...small, '--seed', '18446744073709551615', '--json']), { code: 0, out: /"seed":18446744073709551615\b/ })
})

t.test('images go into a folder or a file, and are shown', async t => {
  const folder = t.testdir()
  const { code, out } = await run(['submit', 'two', ...small, '--count', '2', '--output', join(folder, 'new')])
  t.equal(code, 0)
  const names = await readdir(join(folder, 'new'))
  t.equal(names.length, 2)
  t.strictSame(out.trim().split('\n').sort(), names.map(name => join(folder, 'new', name)).sort())
  t.match(await run(['submit', 'one', ...small, '-o', join(folder, 'one.png')]), { code: 0, out: `${join(folder, 'one.png')}\n` })
  t.equal((await readFile(join(folder, 'one.png'))).subarray(1, 4).toString(), 'PNG')
  t.match(await run(['submit', 'two', ...small, '--count', '2', '-o', join(folder, 'two.png')]), { code: 2, notes: /name a folder/ })
  t.match(await run(['submit', 'x', '--no-wait', '--open']), { code: 2, notes: /--no-wait/ })
})

t.test('a picture and any parameter go along', async t => {
  const folder = t.testdir()
  await run(['submit', 'start', ...small, '-o', join(folder, 'start.png')])
  const { code, notes } = await run([
    'submit', 'from it', ...small, '--image', join(folder, 'start.png'), '--denoising', '0.4', '--set', 'clip_skip=2', '--set', 'styles=[]'
  ])
  t.equal(code, 0, notes)
  t.match((await service.job(idIn(notes))).generation_params, { denoising_strength: 0.4 })
  t.match(await run(['submit', 'x', '--image', join(folder, 'missing.png')]), { code: 2, notes: /--image.*missing\.png/ })
})

t.test('a job can be submitted to the background', async t => {
  const { code, out } = await run(['submit', 'later', ...small, '--background', '--no-wait'])
  t.equal(code, 0)
  t.match(await service.job(idIn(out)), { background: true })
})

t.test('what the service rejects is said in its words, with exit code 1', async t => {
  t.match(await run(['submit', 'x', '--model', 'dreamscpe']), { code: 1, notes: /no checkpoint "dreamscpe".*Nearest/ })
  t.match(await run(['logs', '00000000-0000-4000-8000-000000000000']), { code: 1, notes: /no job/i })
  t.match(await runAnywhere(['list', '--service', 'http://127.0.0.1:1']), { code: 1, notes: /There is no StableQueue at http:\/\/127\.0\.0\.1:1/ })
})

t.test('a failed job ends with 3, a cancelled one with 4', async t => {
  service.simulator.setFaults([{ kind: 'out-of-memory' }])
  const failed = await run(['submit', 'fails', ...small])
  service.simulator.setFaults([])
  t.match(failed, { code: 3, out: '', notes: /Job \S+ failed: / })
  await service.request('POST', '/api/v1/servers/Main/pause')
  let notes = ''
  const cancelled = run(['submit', 'waits', ...small], { onNote: text => { notes += text } })
  while (idIn(notes) === '') await service.until(idIn((await run(['submit', 'x', ...small, '--no-wait'])).out), 'pending')
  await run(['cancel', idIn(notes)])
  t.match(await cancelled, { code: 4, notes: /was cancelled/ })
  t.equal((await run(['watch', idIn(notes)])).code, 4)
  await run(['cancel', '--all', '--status', 'pending', '--yes'])
  await service.request('POST', '/api/v1/servers/Main/resume')
})

t.test('list shows pages, filters and exact numbers', async t => {
  const { out, notes } = await run(['list', '--limit', '2'])
  t.match(out, /^ID +STATUS +SERVER +STATE +PROMPT\n/)
  t.equal(out.trim().split('\n').length, 3)
  t.match(notes, /These are 2 of \d+ jobs/)
  const { jobs, total } = JSON.parse((await run(['list', '--json', '--search', 'lighthouse', '--status', 'completed'])).out)
  t.equal(jobs.length, total)
  t.ok(jobs.every(({ prompt }: { prompt: string }) => prompt.includes('lighthouse')))
  t.match(await run(['list', '--status', 'done']), { code: 2, notes: /Allowed choices are pending/ })
  t.match(await run(['list', '--limit', '0']), { code: 2, notes: /whole number from 1/ })
})

t.test('cancel and retry act on named jobs, or after a confirmation on all that match', async t => {
  await service.request('POST', '/api/v1/servers/Main/pause')
  const ids = (await Promise.all(['one', 'two', 'three'].map(async prompt => (await run(['submit', `many ${prompt}`, ...small, '--no-wait'])).out.trim())))
  const [first = ''] = ids
  t.match(await run(['cancel', first]), { code: 0, out: `Cancelled: ${first}\n` })
  t.match(await run(['cancel', first]), { code: 1 })
  t.match(await run(['cancel', '--all', '--search', 'many', '--status', 'pending']), { code: 2, notes: /2 jobs would be concerned; nothing was done/ })
  t.match(await run(['cancel', '--all', '--search', 'many', '--status', 'pending'], { confirms: true }), { code: 0, out: 'Cancelled: 2 jobs\n' })
  t.match(await run(['retry', '--all', '--search', 'many', '--yes']), { code: 0, out: 'Queued again: 3 jobs\n' })
  t.match(await run(['cancel', first, '--status', 'pending']), { code: 2, notes: /not both/ })
  t.match(await run(['cancel']), { code: 2, notes: /--all/ })
  await service.request('POST', '/api/v1/servers/Main/resume')
  const { code, out } = await run(['watch', ...ids])
  t.equal(code, 0)
  for (const id of ids) t.match(out, `Job ${id} completed.`)
  t.match(await run(['logs', first]), { code: 0, out: /accepted from command-line, priority 5[^]*generation 1 began at Main[^]*completed\nImage: / })
})

t.test('servers are added, listed, paused, drained and removed', async t => {
  t.match(await run(['servers', 'add', 'Away', 'http://127.0.0.1:9']), { code: 0, out: 'Added Away.\n', notes: /does not answer yet/ })
  t.match(await run(['servers', 'list']), { code: 0, out: /^ALIAS[^]*\nMain +online[^]*\nAway/ })
  t.match(await run(['servers', 'pause', 'Away', '--reason', 'Driver update']), { code: 0, out: 'Away is paused.\n' })
  t.match(JSON.parse((await run(['servers', 'list', '--json'])).out)[1], { alias: 'Away', paused: true, pause_reason: 'Driver update' })
  t.match(await run(['servers', 'resume', 'Away']), { code: 0, out: 'Away takes jobs.\n' })
  t.match(await run(['servers', 'drain', 'Away']), { code: 0 })
  await run(['submit', 'a lighthouse', '--server', 'Away', '--no-wait'])
  t.match(await run(['servers', 'remove', 'Away']), { code: 1, notes: /Away has 1 waiting job/ })
  t.match(await run(['servers', 'remove', 'Away', '--move-to', 'auto', '--cancel-jobs']), { code: 2, notes: /--cancel-jobs.*--move-to/ })
  t.match(await run(['servers', 'remove', 'Away', '--move-to', 'auto']),
    { code: 0, out: 'Server Away was removed; 1 job moved to any server.\n' })
  t.match(await run(['servers', 'pause', 'Away']), { code: 1, notes: /no server named Away/ })
  t.match(await run(['servers', 'add', 'Bad', 'ftp://x']), { code: 1, notes: /http or https address/ })
})

t.test('models of a server are listed', async t => {
  await service.request('POST', '/api/v1/servers/Main/test')
  t.match(await run(['models', '--type', 'checkpoint', '--server', 'Main']), { code: 0, out: /^TYPE[^]*dreamscape-v8/ })
  t.match(await run(['models', '--type', 'picture']), { code: 1, notes: /type/ })
})

t.test('keys of a named service are made, listed and revoked there', async t => {
  const { out } = await run(['keys', 'create', '--name', 'Batch', '--scopes', 'jobs:read', '--json'])
  const { id, key, secret } = JSON.parse(out)
  t.match(await run(['keys', 'list']), { out: new RegExp(`${id} +${key} +active +Batch +jobs:read`) })
  t.match(await run(['submit', 'x', '--key', `${key}:${secret}`]), { code: 1, notes: /jobs:write/ })
  t.match(await run(['keys', 'revoke', key]), { code: 0, out: `Revoked ${key} (Batch).\n` })
  t.match(await run(['list', '--key', `${key}:${secret}`]), { code: 1, notes: /Give an access key/ })
  t.match(await run(['keys', 'create']), { code: 2, notes: /--name/ })
})

t.test('the address and its secret come from options, environment, config file or the folder', async t => {
  const { key, secret } = JSON.parse((await run(['keys', 'create', '--name', 'File', '--json'])).out)
  const folder = t.testdir({ 'config.json': JSON.stringify({ service: service.url, key: `${key}:${secret}` }), '.env': `PORT=${new URL(service.url).port}\n` })
  const config = { STABLEQUEUE_CONFIG: join(folder, 'config.json') }
  const submitted = await runAnywhere(['submit', 'mine', ...small, '--no-wait'], { environment: config })
  t.equal(submitted.code, 0, submitted.notes)
  t.type((await service.job(submitted.out.trim())).api_key_id, 'string')
  t.equal((await runAnywhere(['list'], { folder })).code, 0, 'the service of this folder')
  await writeFile(join(folder, 'config.json'), JSON.stringify({ service: 'http://127.0.0.1:1', key: `${key}:${secret}` }))
  const elsewhere = await runAnywhere(['submit', 'not mine', ...small, '--no-wait', '--service', service.url], { environment: config })
  t.equal((await service.job(elsewhere.out.trim())).api_key_id, null, 'a secret of another address is not sent')
  for (const [content, expected] of [
    ['{', /JSON/], ['[]', /object/], ['{"url":"http://x"}', /unknown field url; there are: service, key, token/], ['{"key":1}', /key/]
  ] as const) {
    await writeFile(join(folder, 'config.json'), content)
    t.match(await runAnywhere(['list'], { environment: config }), { code: 2, notes: expected })
  }
  t.match(await runAnywhere(['list', '--service', 'http://a:b@127.0.0.1']), { code: 2, notes: /no name and password/ })
  t.match(await runAnywhere(['list', '--key', 'alone']), { code: 2, notes: /mk_/ })
})

t.test('wrong usage ends with 2 and the usage, help with 0', async t => {
  for (const argv of [['nonsense'], ['submit'], ['list', 'extra'], ['servers'], ['servers', 'bake'], ['start', '--prot', '1'], ['completion', 'fish'], ['keys', 'revoke']]) {
    const { code, out, notes } = await run(argv)
    t.match({ code, out }, { code: 2, out: '' }, argv.join(' '))
    t.match(notes, /Usage: stablequeue/, argv.join(' '))
  }
  for (const argv of [[], ['--help'], ['help'], ['start', '--help'], ['servers', '--help'], ['servers', 'add', '-h'], ['submit', '--help']]) {
    t.match(await run(argv), { code: 0, out: /^Usage: stablequeue/, notes: '' }, argv.join(' '))
  }
  t.match(await run(['--version']), { code: 0, out: /^\d+\.\d+\.\d+\n$/ })
})

t.test('the installed command shows help and version without loading the service', async t => {
  const launch = async (...argv: string[]) => await new Promise(resolve => {
    const options = { env: { PATH: process.env.PATH } }
    execFile(process.execPath, [inRepository('src/launch.mjs'), ...argv], options, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, stdout, stderr })
    })
  })
  t.match(await launch('start', '--help'), { code: 0, stdout: /^Usage: stablequeue start/ })
  t.match(await launch('--version'), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
  t.match(await launch('list', '--service', service.url, '--limit', '1'), { code: 0, stdout: /^ID/ })
  t.match(await launch('list', '--stauts', 'failed'), { code: 2, stderr: /Did you mean --status[^]*Usage:/ })
})

t.test('bash completes commands, options and values', async t => {
  const { out: script } = await run(['completion', 'bash'])
  const complete = (...words: string[]) => spawnSync('bash', ['-c',
    `${script}\nCOMP_WORDS=(stablequeue "$@"); COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 )); _stablequeue; printf '%s\\n' "\${COMPREPLY[@]}"`, 'bash', ...words
  ], { encoding: 'utf8' }).stdout.trim().split('\n')
  t.strictSame(complete('su'), ['submit'])
  t.strictSame(complete('servers', 'dr'), ['drain'])
  t.strictSame(complete('submit', '--ste'), ['--steps'])
  t.strictSame(complete('list', '--status', 'f'), ['failed'])
  t.match((await run(['completion', 'zsh'])).out, /^#compdef stablequeue\n/)
})
