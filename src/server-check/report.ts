import { arch, platform } from 'node:os'
import {
  type CheckStepName, checkVersion, type LearnedView, type ServerCheckFinding, type ServerCheckReport
} from '../../schemas/server-check.ts'
import type { ServerTraits } from '../a1111/types.ts'
import { iso } from '../lib/text.ts'
import { version } from '../lib/version.ts'
import type { LearnedTraits } from '../servers/learned-traits.ts'

/** One reading of the progress of the check's generation. */
export interface ProgressLook {
  readonly fraction: number
  readonly step: number | null
  readonly steps: number | null
  readonly hasPreview: boolean
}

/** Options of a check beyond the default. */
export interface CheckOptions {
  /** The exact title at the server. */
  readonly checkpoint: string | null
  readonly minutes: number | null
}

/** The findings of a check so far. Each step adds to them. */
export interface CheckFacts {
  readonly requested: CheckOptions
  traits: ServerTraits | null
  version: string | null
  checkpoints: number | null
  /** As the server reported them before anything was changed. */
  options: Readonly<Record<string, unknown>>
  /** `POST /path`, if the server lists its routes; otherwise null. */
  routes: ReadonlySet<string> | null
  /** Seconds of one step of 64 × 64, as measured in the last generation. */
  secondsPerStep: number
  longestAnswerSeconds: number
  readonly looks: ProgressLook[]
  learned: { -readonly [Name in keyof LearnedTraits]?: LearnedTraits[Name] }
  readonly findings: ServerCheckFinding[]
}

export function noFacts (requestedOptions: CheckOptions): CheckFacts {
  return {
    requested: requestedOptions,
    traits: null,
    version: null,
    checkpoints: null,
    options: {},
    routes: null,
    secondsPerStep: 0.05,
    longestAnswerSeconds: 0,
    looks: [],
    learned: {},
    findings: []
  }
}

/** @param remedy the action for the reader, if there is one */
export function addFinding (
  { findings }: CheckFacts, topic: CheckStepName, level: ServerCheckFinding['level'], sentence: string,
  remedy: string | null = null
): void {
  findings.push({ topic, level, sentence, remedy })
}

export type CheckReport = ServerCheckReport

/** The part of a report that describes the run, apart from its facts. */
export interface CheckRun {
  readonly id: string
  readonly alias: string | null
  readonly baseUrl: string
  readonly redisVersion: string | null
  readonly startedAt: number
  readonly outcome: CheckReport['outcome']
  readonly reason: string | null
  readonly steps: CheckReport['steps']
  readonly requests: CheckReport['requests']
  readonly generations: CheckReport['generations']
  readonly putBack: CheckReport['put_back']
}

/** The learned traits of a server, as clients see them. */
export function learnedView (learned: LearnedTraits): LearnedView {
  return {
    checked_at: iso(learned.checkedAt),
    check_version: learned.checkVersion,
    tells_tasks_apart: learned.tasksKnown,
    reports_progress: learned.reportsProgress,
    shows_previews: learned.showsPreviews,
    interrupts: learned.interrupts,
    interrupt_ms: learned.interruptMs,
    restores_overrides: learned.restoresOverrides,
    keeps_selection: learned.keepsSelection,
    error_styles: [...learned.errorStyles ?? []],
    missing_routes: learned.missingRoutes === null ? null : [...learned.missingRoutes],
    proxy: learned.proxy,
    body_accepted_bytes: learned.bodyAcceptedBytes,
    body_refused_bytes: learned.bodyRefusedBytes,
    time_limit_seconds: learned.timeLimitSeconds,
    time_passed_seconds: learned.timePassedSeconds
  }
}

export function writeReport (facts: CheckFacts, learned: LearnedTraits, run: CheckRun): CheckReport {
  const endedAt = Date.now()
  const hurts = facts.findings.some(({ level }) => level === 'harm') || run.putBack === 'failed'
  return {
    check_version: checkVersion,
    id: run.id,
    outcome: run.outcome,
    reason: run.reason,
    verdict: hurts ? 'harm' : run.outcome === 'finished' ? 'good' : 'unknown',
    started_at: new Date(run.startedAt).toISOString(),
    ended_at: new Date(endedAt).toISOString(),
    duration_ms: Math.max(0, endedAt - run.startedAt),
    service: { version, node: process.version, redis: run.redisVersion, platform: `${platform()} ${arch()}` },
    server: {
      alias: run.alias,
      address: describeAddress(run.baseUrl),
      kind: facts.traits?.kind ?? null,
      version: facts.version,
      checkpoints: facts.checkpoints
    },
    findings: facts.findings,
    traits: learnedView(learned),
    generations: run.generations,
    steps: run.steps,
    put_back: run.putBack,
    requests: run.requests
  }
}

/** The kind of address of a server, for publication: no host name, which can be a private domain. */
export function describeAddress (baseUrl: string): string {
  const { protocol, hostname, port, pathname } = new URL(baseUrl)
  const path = pathname === '/' ? '' : ', with a base path'
  return `${protocol.slice(0, -1)}, ${placeOf(hostname)}${port === '' ? '' : `, port ${port}`}${path}`
}

function placeOf (host: string): string {
  if (host === 'localhost' || host.startsWith('127.') || host === '[::1]') return 'this machine'
  if (/^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|\[f[cde])/i.test(host)) return 'a private network'
  if (/^[\d.]+$/.test(host) || host.startsWith('[')) return 'a public address'
  return host.includes('.') ? 'a domain name' : 'a host name'
}

const marks = { good: 'good    ', note: 'note    ', harm: 'HARM    ', unknown: 'unknown ' } as const

/** The report for people: one line for each finding with its remedy below, then each step. */
export function reportText (report: CheckReport): string {
  const { server, service, findings, steps, generations, requests } = report
  const name = [server.alias ?? 'A server', `(${[server.kind ?? 'kind not known', server.version].filter(Boolean).join(' ')};`, `${server.address})`].join(' ')
  const lines = [
    `Thorough check of ${name}`,
    `${report.started_at}, ${(report.duration_ms / 1000).toFixed(1)} s, ${generations.made} of at most ${generations.at_most} generations`,
    `StableQueue ${service.version}, Node.js ${service.node}, ${service.redis ?? 'no Redis'}, ${service.platform}`,
    '',
    ...report.outcome === 'finished' ? [] : [`${outcomeWords[report.outcome]}${report.reason === null ? '' : `: ${report.reason}`}`, ''],
    ...findings.flatMap(({ level, sentence, remedy }) =>
      [`${marks[level]} ${sentence}`, ...remedy === null ? [] : [`         ${remedy}`]]),
    ...findings.length === 0 ? [] : [''],
    `Settings: ${putBackWords[report.put_back]}`,
    `Result: ${verdictWords[report.verdict]}`,
    '',
    'Steps',
    ...steps.map(({ title, state, note, duration_ms: ms }) =>
      `  ${title}: ${stepWords[state]}${ms === null ? '' : `, ${ms} ms`}${note === null ? '' : ` (${note})`}`),
    '',
    'Requests',
    ...requests.map(({ step, method, route, status, duration_ms: ms }) =>
      `  ${step}  ${method} ${route}  ${status ?? 'no answer'}  ${ms} ms`)
  ]
  return lines.join('\n')
}

const outcomeWords = {
  finished: 'Finished', cancelled: 'Cancelled', could_not_run: 'Could not run', broken_off: 'Ended early'
} as const
const verdictWords = {
  good: 'nothing that hurts was found.',
  harm: 'something hurts; see HARM above.',
  unknown: 'not known, as the check did not finish.'
} as const
const putBackWords = {
  nothing: 'nothing had to be put back.',
  done: 'everything is put back.',
  pending: 'what was changed is put back as soon as the server answers.',
  failed: 'some could not be put back; look at the settings of the server.'
} as const
const stepWords = {
  waiting: 'not reached', running: 'running', done: 'done', not_found_out: 'not found out', skipped: 'skipped'
} as const
