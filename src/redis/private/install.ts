import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { basename, delimiter, join, resolve } from 'node:path'
import { messageOf } from '../../lib/errors.ts'

/** How the two package systems that we drive call the same thing. */
export interface PackageNames {
  apt: string
  brew: string
}

/** Facts about this machine that decide how to install a program. */
export interface Machine {
  hasApt: boolean
  hasBrew: boolean
  isRoot: boolean
  /** True if `sudo` asks for no password. */
  hasFreeSudo: boolean
  /** True if systemd runs the services. */
  hasSystemd: boolean
}

/** A command, and the remedy if it fails. */
export interface InstallCommand {
  command: readonly string[]
  /** A failure of an optional command is ignored, that of a required one ends the installation. */
  importance: 'required' | 'optional'
}

/** The first of the named programs that is in PATH, as an absolute path; a name that is a path is taken as it is. */
export function findProgram (names: readonly string[], path = process.env.PATH ?? ''): string | undefined {
  const candidates = names.flatMap(name =>
    basename(name) === name ? path.split(delimiter).map(folder => join(folder, name)) : [resolve(name)])
  return candidates.find(isExecutable)
}

function isExecutable (path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/**
 * The commands that install a package without leaving a service of it running, now or after the next boot. Empty if
 * this machine offers no way.
 */
export function planInstallation (packages: PackageNames, machine: Machine): InstallCommand[] {
  if (machine.hasApt && (machine.isRoot || machine.hasFreeSudo)) return planApt(packages.apt, machine)
  // Homebrew refuses to run as root, and starts no service by itself.
  if (machine.hasBrew && !machine.isRoot) return [{ command: ['brew', 'install', packages.brew], importance: 'required' }]
  return []
}

/**
 * Debian's packages start their service at installation. RUNLEVEL=1 keeps `invoke-rc.d` from it; under systemd, which
 * ignores that, a masked unit cannot start, and is disabled when the mask is removed.
 */
function planApt (name: string, machine: Machine): InstallCommand[] {
  const rights = machine.isRoot ? [] : ['sudo', '-n']
  const apt = [...rights, 'env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', 'apt-get', '-qq']
  const unit = `${name}.service`
  const service = (...parameters: string[]): InstallCommand[] =>
    machine.hasSystemd ? [{ command: [...rights, 'systemctl', ...parameters, unit], importance: 'optional' }] : []
  return [
    ...service('mask'),
    { command: [...apt, 'update'], importance: 'optional' },
    { command: [...apt, 'install', '-y', '--no-install-recommends', name], importance: 'required' },
    ...service('unmask'),
    ...service('disable')
  ]
}

/**
 * Installs a program with the system's package manager.
 * Test runs use it too, for the other programs that tests need.
 * @param say gets a message before each step
 * @throws Error with one sentence if there is no way to install, or the installation fails
 */
export async function installSystemPackage (
  packages: PackageNames, say: (sentence: string) => void, machine: Machine = lookAtMachine()
): Promise<void> {
  const commands = planInstallation(packages, machine)
  const main = commands.find(({ importance }) => importance === 'required')
  if (main === undefined) throw new Error(`${packages.apt} is not installed, and cannot be installed without root rights or Homebrew.`)
  const shown = main.command.join(' ')
  say(`Installing ${packages.apt} (${shown})…`)
  let failure: string | undefined
  for (const { command, importance } of commands) {
    // The clean-up after a failed installation still runs; the program itself is not tried again.
    if (failure !== undefined && importance === 'required') continue
    const { status, stderr, error } = execute(command)
    if (status !== 0 && importance === 'required') failure = error?.message ?? lastLine(stderr) ?? `it exited with ${status}`
  }
  if (failure !== undefined) throw new Error(`Installing ${packages.apt} failed (${shown}): ${failure}`)
}

function lookAtMachine (): Machine {
  const isRoot = process.getuid?.() === 0
  return {
    hasApt: findProgram(['apt-get']) !== undefined,
    hasBrew: findProgram(['brew']) !== undefined,
    isRoot,
    hasFreeSudo: !isRoot && findProgram(['sudo']) !== undefined && execute(['sudo', '-n', 'true']).status === 0,
    hasSystemd: existsSync('/run/systemd/system')
  }
}

function execute ([program = '', ...parameters]: readonly string[]) {
  return spawnSync(program, parameters, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
}

function lastLine (text: string): string | undefined {
  return text.trim().split('\n').at(-1) || undefined
}

/** Names of installed Redis programs, in order of preference. */
export const redisProgramNames: readonly string[] = ['redis-server', 'valkey-server']

/**
 * The program to start as private Redis: the requested one, the one in PATH, or one that is installed now.
 * @param asked path or name from the setting REDIS_SERVER; undefined or empty to look for one
 * @returns an absolute path
 * @throws Error with one sentence that names the missing program or setting
 */
export async function provideRedisProgram (
  asked: string | undefined, say: (sentence: string) => void
): Promise<string> {
  if (asked) {
    const found = findProgram([asked])
    if (found === undefined) throw new Error(`REDIS_SERVER is ${asked}, but there is no such program.`)
    return found
  }
  const found = findProgram(redisProgramNames)
  if (found !== undefined) return found
  try {
    await installSystemPackage({ apt: 'redis-server', brew: 'redis' }, say)
  } catch (error) {
    throw new Error(`${needed} (${messageOf(error)})`, { cause: error })
  }
  const installed = findProgram(redisProgramNames)
  if (installed === undefined) throw new Error(needed)
  return installed
}

const needed = 'StableQueue needs Redis: install redis-server (6.2 or newer) or valkey-server, ' +
  'or set REDIS_URL to the address of a Redis.'
