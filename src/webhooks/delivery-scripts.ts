import type { DeliveryState } from '../../schemas/webhook.ts'
import { loadScript, type Script, type ScriptArgument } from '../redis/scripts.ts'

/**
 * Changes of deliveries, one script each. Listeners get each change at once; clients that missed it find it in the
 * lists.
 */
function load<Args extends readonly ScriptArgument[], Answer> (name: string): Script<[prefix: string], Args, Answer> {
  return loadScript(new URL(`scripts/${name}.lua`, import.meta.url))
}

export const createDelivery = load<[id: string, key: string, job: string, created: number, ...fields: ScriptArgument[]],
  0 | 1>('create-delivery')

export const changeDelivery = load<[
  id: string, round: number, state: DeliveryState, reason: string, nextAt: number | '', now: number, attempt: string,
  status: number | '', failures: 0 | 1
], 0 | 1>('change-delivery')

export const renewDelivery = load<[id: string, now: number], number>('renew-delivery')

export const removeDelivery = load<[id: string], 0 | 1>('remove-delivery')
