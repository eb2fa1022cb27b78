import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * The command of tap, for coverage and its other options: `npx tap …`. npm gets it when it is first used, because its
 * 220 packages, which `npm test` does without, would take a quarter of the time of every installation. `overrides` of
 * package.json puts this in its place.
 */
const { dependencies } = JSON.parse(readFileSync(new URL(import.meta.resolve('tap/package.json')), 'utf8'))
const command = ['exec', '--yes', '--package', `@tapjs/run@${dependencies['@tapjs/run']}`, '--', 'tap-run']
const { status, error } = spawnSync('npm', [...command, ...process.argv.slice(2)], { stdio: 'inherit' })
if (error) process.stderr.write(`npm, which gets the command of tap, could not be run: ${error.message}\n`)
process.exitCode = status ?? 1
