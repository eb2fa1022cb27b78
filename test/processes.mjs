import { fork } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = dirname(fileURLToPath(import.meta.url))
/** How many of the processes run the files that need a browser. */
const browsers = 2

/**
 * Runs test files in several processes. Each process runs one file after another, because starting Node, loading the
 * service and compiling it costs more CPU than most tests. Files that need a process of their own come first.
 * @param {ReadonlyArray<{ name: string, path: string, isAlone: boolean, needsBrowser?: boolean }>} files
 * @param {number} processes
 * @param {NodeJS.ProcessEnv} env
 * @param {import('./reporter.mjs').default} reporter
 * @param {{ timeout: number, endTimeout: number }} limits the most time for a file, and for a process to end after its
 * last one, in milliseconds
 */
export async function runFiles (files, processes, env, reporter, limits = { timeout: 400_000, endTimeout: 15_000 }) {
  const alone = files.filter(({ isAlone }) => isAlone)
  const shared = files.filter(({ isAlone }) => !isAlone)
  // Each of their processes starts a browser.
  const ofBrowser = shared.filter(({ needsBrowser }) => needsBrowser)
  const others = shared.filter(({ needsBrowser }) => !needsBrowser)
  await Promise.all(Array.from({ length: Math.min(processes, files.length) }, async (_, index) => {
    while (alone.length > 0) await runProcess([[alone.shift()]], env, reporter, limits)
    const lists = index < browsers ? [ofBrowser, others] : [others]
    while (lists.some(list => list.length > 0)) await runProcess(lists, env, reporter, limits)
  }))
  reporter.end()
}

/** Takes files from the first list that has any, until all are empty or the process ended. */
function runProcess (lists, env, reporter, { timeout, endTimeout }) {
  return new Promise(resolve => {
    const child = fork(join(folder, 'worker.mjs'), {
      cwd: dirname(folder), env, execArgv: ['--enable-source-maps'], stdio: ['ignore', 'pipe', 'inherit', 'ipc']
    })
    child.stdout.pipe(reporter.parser())
    const done = []
    let file
    let timer
    child.on('message', ({ kind, isStuck, account }) => {
      // tap sends messages of its own.
      if (kind !== 'ready') return
      if (file !== undefined) done.push(file.name)
      if (account !== undefined) reporter.account?.push({ name: file.name, ...account })
      clearTimeout(timer)
      file = isStuck ? undefined : lists.find(list => list.length > 0)?.shift()
      timer = setTimeout(() => child.kill('SIGKILL'), file === undefined ? endTimeout : timeout + endTimeout)
      child.send(file === undefined ? {} : { ...file, timeout })
    })
    // Its end says more.
    child.on('error', () => {})
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      if (file !== undefined) reporter.fail([file.name], { exitCode: code, signal, error: 'The process ended during this file.' })
      else if (signal !== null) reporter.fail(done, { signal, error: 'One of these files left something open.' })
      resolve()
    })
  })
}
