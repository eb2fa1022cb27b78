import { Type, type Static } from '@sinclair/typebox'
import { Closed, Nullable, Ref, StringEnum, success, Timestamp } from './kit.ts'

/** Raised when a later version finds out other things, so that reports can be compared. */
export const checkVersion = 1

export const checkSteps = [
  'wait', 'identity', 'routes', 'errors', 'generation', 'tasks', 'progress', 'interrupt', 'overrides', 'selection',
  'body_limit', 'time_limit', 'put_back'
] as const
export type CheckStepName = typeof checkSteps[number]

export const checkOutcomes = ['finished', 'cancelled', 'could_not_run', 'broken_off'] as const

const milliseconds = (description: string) => Nullable(Type.Integer({ minimum: 0 }), { description })

const checkFields = {
  checkpoint: Type.Optional(Type.String({
    minLength: 1,
    maxLength: 500,
    description: 'A checkpoint other than the selected one. It is loaded once, to see whether the server keeps its ' +
      'selection; without it no checkpoint is loaded.',
    examples: ['anime.safetensors']
  })),
  minutes: Type.Optional(Type.Number({
    exclusiveMinimum: 0,
    maximum: 30,
    description: 'Runs one longer generation of about so many minutes, to see whether a proxy in front of the server ' +
      'waits that long for an answer.',
    examples: [2]
  }))
}

export const ServerCheckOptions = Type.Unsafe<{ checkpoint?: string, minutes?: number } | null>({
  ...Closed(checkFields),
  type: ['object', 'null'],
  $id: 'ServerCheckOptions',
  description: 'What a thorough check tries beyond the usual.'
})
export type ServerCheckOptions = NonNullable<Static<typeof ServerCheckOptions>>

export const ServerCheckStep = Type.Object({
  name: StringEnum(checkSteps, { description: 'What the step finds out.' }),
  title: Type.String({ description: 'The same for people.' }),
  state: StringEnum(['waiting', 'running', 'done', 'not_found_out', 'skipped'], {
    description: 'not_found_out: it was tried, and note says what kept it from being found out.'
  }),
  note: Nullable(Type.String(), { description: 'Why it was skipped or not found out.' }),
  duration_ms: milliseconds('Duration; null until it finished.')
}, { $id: 'ServerCheckStep', description: 'One step of a thorough check.' })
export type ServerCheckStep = Static<typeof ServerCheckStep>

export const ServerCheckFinding = Type.Object({
  topic: StringEnum(checkSteps, { description: 'The step that found it.' }),
  level: StringEnum(['good', 'note', 'harm', 'unknown'], {
    description: 'harm: jobs suffer from it. note: StableQueue copes with it. unknown: it was not found out.'
  }),
  sentence: Type.String({ description: 'What was found, for people.' }),
  remedy: Nullable(Type.String(), { description: 'What helps, where something is to be done.' })
}, { $id: 'ServerCheckFinding', description: 'Something that a thorough check found.' })
export type ServerCheckFinding = Static<typeof ServerCheckFinding>

const nullableFlag = (description: string) => Nullable(Type.Boolean(), { description: `${description} null: not found out.` })

export const errorStyles = ['a1111', 'forge', 'fastapi', 'pydantic1', 'pydantic2', 'bare_string', 'html', 'other'] as const
const ErrorStyle = StringEnum(errorStyles, {
  description: 'a1111: error, detail, body and errors. forge: error, detail, body and message. fastapi: detail alone. ' +
    'pydantic1, pydantic2: a list of invalid fields. bare_string: a JSON string. html: a page of a proxy.'
})

/** What was learned of a server, as a thorough check or the work with it has shown. */
export const LearnedView = Type.Object({
  checked_at: Nullable(Timestamp('When it was last checked thoroughly.')),
  check_version: Nullable(Type.Integer(), { description: 'Version of that check.' }),
  tells_tasks_apart: nullableFlag('Whether it knows our tasks by their id.'),
  reports_progress: nullableFlag('Whether it reports progress while it generates.'),
  shows_previews: nullableFlag('Whether it shows previews.'),
  interrupts: nullableFlag('Whether a generation stops when it is interrupted.'),
  interrupt_ms: milliseconds('From the interrupt to the answer of the interrupted generation.'),
  restores_overrides: Nullable(StringEnum(['all', 'saved', 'none']), {
    description: 'Which settings it restores after a job. saved: those in its config file only. null: not found out.'
  }),
  keeps_selection: nullableFlag('Whether the selected checkpoint is selected again after a job with another one.'),
  error_styles: Type.Array(ErrorStyle, { description: 'How it reports errors, as far as was seen.' }),
  missing_routes: Nullable(Type.Array(Type.String()), { description: 'Missing routes that jobs can need; null: not found out.' }),
  proxy: Nullable(Type.String(), { description: 'What answers in front of it, as its headers say.' }),
  body_accepted_bytes: milliseconds('Largest request body that got through.'),
  body_refused_bytes: milliseconds('Smallest rejected request body; null if none was rejected.'),
  time_limit_seconds: Nullable(Type.Number(), { description: 'After how many seconds a proxy gave up; null: not seen.' }),
  time_passed_seconds: Nullable(Type.Number(), { description: 'Longest time after which an answer still got through.' })
}, { $id: 'LearnedTraits', description: 'What was learned of a server by working with it.' })
export type LearnedView = Static<typeof LearnedView>

export const ServerCheckReport = Type.Object({
  check_version: Type.Integer({ description: 'Version of the check.' }),
  id: Type.String({ description: 'Id of the check.' }),
  outcome: StringEnum(checkOutcomes, {
    description: 'finished: every step was tried. cancelled: on request. could_not_run: nothing was generated. ' +
      'broken_off: it stopped early; reason says why.'
  }),
  reason: Nullable(Type.String(), { description: 'Why it did not finish.' }),
  verdict: StringEnum(['good', 'harm', 'unknown'], { description: 'harm: at least one finding that hurts.' }),
  started_at: Timestamp('When it began.'),
  ended_at: Timestamp('When it finished.'),
  duration_ms: Type.Integer({ minimum: 0, description: 'How long it took.' }),
  service: Type.Object({
    version: Type.String({ description: 'Version of StableQueue.' }),
    node: Type.String({ description: 'Version of Node.js.' }),
    redis: Nullable(Type.String(), { description: 'Name and version of the Redis; null where there is none.' }),
    platform: Type.String({ description: 'Operating system and architecture.' })
  }, { description: 'What made the check.' }),
  server: Type.Object({
    alias: Nullable(Type.String(), { description: 'Its alias; null where it is not registered.' }),
    address: Type.String({ description: 'Protocol and kind of address, without host name and credentials.' }),
    kind: Nullable(Type.String(), { description: 'What it is.' }),
    version: Nullable(Type.String(), { description: 'Its version.' }),
    checkpoints: Nullable(Type.Integer(), { description: 'How many checkpoints it has; their names are left out.' })
  }, { description: 'What was checked.' }),
  findings: Type.Array(Ref(ServerCheckFinding), { description: 'What was found.' }),
  traits: Ref(LearnedView),
  generations: Type.Object({
    made: Type.Integer({ minimum: 0, description: 'Generations that were sent.' }),
    at_most: Type.Integer({ minimum: 0, description: 'How many there could have been.' })
  }, { description: 'What the check had the server generate.' }),
  steps: Type.Array(Ref(ServerCheckStep), { description: 'Its steps, in order.' }),
  put_back: StringEnum(['nothing', 'done', 'pending', 'failed'], {
    description: 'State of the changed settings. pending: restored as soon as the server answers.'
  }),
  requests: Type.Array(Type.Object({
    step: StringEnum(checkSteps, { description: 'The step that made it.' }),
    method: Type.String({ description: 'Its method.' }),
    route: Type.String({ description: 'Its path.' }),
    status: Nullable(Type.Integer(), { description: 'Status of the answer; null without an answer.' }),
    duration_ms: Type.Integer({ minimum: 0, description: 'How long it took.' })
  }), { description: 'Every request and the status of its answer, without repeated requests for progress.' })
}, { $id: 'ServerCheckReport', description: 'What a thorough check found, made to be attached to a bug report.' })
export type ServerCheckReport = Static<typeof ServerCheckReport>

export const ServerCheckView = Type.Object({
  success,
  check: Nullable(Type.Object({
    id: Type.String({ description: 'Id of the check.' }),
    state: StringEnum(['asked', 'waiting', 'running', 'putting_back', 'ended'], {
      description: 'asked: no worker has started it yet. waiting: until the running job finishes, or until the server is idle.'
    }),
    asked_at: Timestamp('Time of the request.'),
    steps: Type.Array(Ref(ServerCheckStep), { description: 'Its steps so far.' })
  }), { description: 'The check that runs now, or ran last; null where there was none.' }),
  report: Nullable(Ref(ServerCheckReport), { description: 'The last report; null where there is none.' }),
  text: Nullable(Type.String(), { description: 'The last report as text, for people.' })
}, { $id: 'ServerCheckView', description: 'A thorough check of a server and its last report.' })
export type ServerCheckView = Static<typeof ServerCheckView>
