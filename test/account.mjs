import { ChildProcess } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'

/**
 * What each test file costs, for `npm test -- --account`: seconds of processor time (user and system) of the process
 * that runs it and of the processes that it starts, and how many of these there are.
 */

/** The resolution of /proc, in a second. */
const ticks = 100
/** Programs that are counted by their names; all others are `node`, or of no account. */
const kinds = { 'redis-server': 'redis', 'valkey-server': 'redis', node: 'processes', env: 'processes' }

/** Measures the files that this process runs one after another. */
export function accountOf () {
  const counts = countStarts()
  let before
  const now = () => ({
    at: performance.now(), own: process.cpuUsage(), children: ofChildren(process.pid), counts: { ...counts }
  })
  return {
    begin () {
      before = now()
    },
    end () {
      const after = now()
      const own = process.cpuUsage(before.own)
      const counted = Object.entries(after.counts).map(([name, count]) => [name, count - before.counts[name]])
      return {
        own: (own.user + own.system) / 1e6,
        children: Math.max(0, after.children - before.children),
        wall: (after.at - before.at) / 1000,
        ...Object.fromEntries(counted)
      }
    }
  }
}

/** The processor time of all children, ended or not, in seconds. What an ended child had not waited for is lost. */
export function ofChildren (parent) {
  const running = new Map()
  for (const name of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    const found = statOf(name)
    if (found !== undefined) running.set(Number(name), found)
  }
  const sum = pid => [...running].filter(([, stat]) => stat.parent === pid)
    .reduce((total, [child, stat]) => total + stat.own + stat.children + sum(child), 0)
  return ((running.get(parent)?.children ?? 0) + sum(parent)) / ticks
}

function statOf (pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name of the program may contain anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number)
    return { parent: fields[1], own: fields[11] + fields[12], children: fields[13] + fields[14] }
  } catch {
    return undefined
  }
}

/** Counts started processes by kind, and services of tests (test/helper.ts adds to these). */
function countStarts () {
  const counts = globalThis[Symbol.for('stablequeue.account')] = { services: 0, redis: 0, processes: 0 }
  const { spawn } = ChildProcess.prototype
  ChildProcess.prototype.spawn = function (options) {
    const kind = kinds[basename(options.file)]
    if (kind !== undefined) counts[kind]++
    return spawn.call(this, options)
  }
  return counts
}

/** A table of the files, the most expensive first. */
export function tableOf (files) {
  const columns = ['own', 'children', 'wall', 'services', 'processes', 'redis']
  const line = (values, name) => `${values.map(value => String(value).padStart(10)).join('')}  ${name}`
  const shown = value => Number.isInteger(value) ? value : value.toFixed(1)
  const totals = columns.map(column => files.reduce((sum, file) => sum + file[column], 0))
  return [
    line(columns, 'file (seconds of processor time, of wall, and counts of starts)'),
    ...files.toSorted((a, b) => b.own + b.children - a.own - a.children)
      .map(file => line(columns.map(column => shown(file[column])), file.name)),
    line(totals.map(shown), 'all files')
  ]
}
