import { loadScript, type Script, type ScriptArgument } from '../redis/scripts.ts'

/** The state of endpoints, and their present calls; one step each, so that limits hold over all processes. */
function load<Args extends readonly ScriptArgument[], Answer> (name: string): Script<[prefix: string], Args, Answer> {
  return loadScript(new URL(`scripts/${name}.lua`, import.meta.url))
}

export const enterEndpoint = load<[
  endpoint: string, key: string, shownUrl: string, slot: string, now: number, slotLifetimeMs: number, perKey: number,
  perEndpoint: number, keptMs: number, name: string
], [kind: 'enter' | 'gone' | 'disabled' | 'busy' | 'open', waitMs: number]>('enter-endpoint')

export const takeWaiting = load<[endpoint: string, key: string, now: number, perKey: number, perEndpoint: number],
  string | null>('take-waiting')

export const leaveEndpoint = load<[
  endpoint: string, key: string, slot: string, now: number, outcome: 'success' | 'failure' | 'gone' | 'none',
  calmUntil: number, failures: number, spanMs: number, firstPauseMs: number, longestPauseMs: number,
  disabledAfterMs: number, goneMs: number
], 1>('leave-endpoint')

export const enableEndpoint = load<[endpoint: string], 0 | 1>('enable-endpoint')
