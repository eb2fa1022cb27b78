import { build } from 'esbuild'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Programs that tests use besides Node: their names, the packages that have one of them, and the variable for the path.
 * The headless shell has no windows and tabs of its own, so it takes half of the processor time of Chromium.
 */
export const redisServer = {
  names: ['redis-server', 'valkey-server'], packages: [{ apt: 'redis-server', brew: 'redis' }], needed: true
}
export const browser = {
  names: ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
  packages: [{ apt: 'chromium-headless-shell', brew: 'chromium' }, { apt: 'chromium', brew: 'chromium' }],
  variable: 'STABLEQUEUE_TEST_CHROMIUM'
}

/**
 * Finds or installs a program in a process of its own, as installing blocks the process; returns a problem if that
 * fails and the program is required.
 */
export async function provide (program) {
  if (program.variable && process.env[program.variable]) return undefined
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(program)])
  let result = { problem: `The search for ${program.names[0]} ended without a result.` }
  child.once('message', message => { result = message })
  await once(child, 'close')
  if (result.found && program.variable) process.env[program.variable] = result.found
  return result.problem
}

/** src/redis/private/install.ts, which need not be built yet. */
export async function loadInstaller () {
  const { outputFiles: [{ text }] } = await build({
    absWorkingDir: dirname(dirname(fileURLToPath(import.meta.url))),
    entryPoints: ['src/redis/private/install.ts'],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false
  })
  return await import(`data:text/javascript,${encodeURIComponent(text)}`)
}

async function findOrInstall ({ names, packages, needed }) {
  const say = sentence => process.stdout.write(`${sentence}\n`)
  const { findProgram, installSystemPackage } = await loadInstaller()
  try {
    if (!findProgram(names)) await installFirst(packages)
    const found = findProgram(names)
    if (!found) throw new Error(`${names[0]} is still missing after its installation.`)
    return { found }
  } catch (error) {
    if (needed || process.env.CI) return { problem: error.message }
    say(`Tests that need ${names[0]} will be skipped: ${error.message}`)
    return {}
  }

  /** Installs the first of the packages that this machine can have. @throws Error about the last one */
  async function installFirst ([first, ...others]) {
    await installSystemPackage(first, say).catch(async error => {
      if (others.length === 0) throw error
      await installFirst(others)
    })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const result = await findOrInstall(JSON.parse(process.argv[2]))
  process.send(result, () => { process.disconnect() })
}
