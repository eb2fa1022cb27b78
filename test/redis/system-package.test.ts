import t from 'tap'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { findProgram, installSystemPackage, planInstallation, type Machine } from '../../src/redis/private/install.ts'

const packages = { apt: 'redis-server', brew: 'redis' }
const bare: Machine = { hasApt: false, hasBrew: false, isRoot: false, hasFreeSudo: false, hasSystemd: false }

function commandsFor (machine: Partial<Machine>): string[] {
  return planInstallation(packages, { ...bare, ...machine }).map(({ command }) => command.join(' '))
}

t.test('on Debian the package is installed, and none of its services starts', async t => {
  const apt = 'env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq'
  t.same(commandsFor({ hasApt: true, isRoot: true }), [
    `${apt} update`, `${apt} install -y --no-install-recommends redis-server`
  ])
  t.same(commandsFor({ hasApt: true, hasFreeSudo: true, hasSystemd: true }), [
    'sudo -n systemctl mask redis-server.service',
    `sudo -n ${apt} update`,
    `sudo -n ${apt} install -y --no-install-recommends redis-server`,
    'sudo -n systemctl unmask redis-server.service',
    'sudo -n systemctl disable redis-server.service'
  ])
})

t.test('Homebrew is used if there is no usable apt-get, but never as root', async t => {
  t.same(commandsFor({ hasBrew: true }), ['brew install redis'])
  t.same(commandsFor({ hasBrew: true, hasApt: true }), ['brew install redis'], 'apt-get without rights is of no use')
  t.same(commandsFor({ hasBrew: true, isRoot: true }), [])
})

t.test('without rights or package system nothing is tried', async t => {
  t.same(commandsFor({}), [])
  t.same(commandsFor({ hasApt: true }), [])
  // test/run.mjs, whose imports no compiler checks, installs Chromium with it
  await t.rejects(installSystemPackage(packages, () => {}, bare), { message: /redis-server is not installed, and cannot/ })
})

t.test('programs are searched in PATH in the requested order, and must be executable', async t => {
  const path = t.testdir({ one: { 'redis-server': '' }, two: { 'valkey-server': '', 'redis-server': {} } })
  const folders = `${join(path, 'one')}:${join(path, 'two')}`
  const names = ['redis-server', 'valkey-server']
  t.equal(findProgram(names, folders), undefined)
  await chmod(join(path, 'two/valkey-server'), 0o755)
  t.equal(findProgram(names, folders), join(path, 'two/valkey-server'))
  await chmod(join(path, 'one/redis-server'), 0o755)
  t.equal(findProgram(names, folders), join(path, 'one/redis-server'))
  t.equal(findProgram([join(path, 'two/valkey-server')], ''), join(path, 'two/valkey-server'))
})
