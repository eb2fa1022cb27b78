import type { TObject } from '@sinclair/typebox'
import {
  StudioImg2imgRequest, StudioTxt2imgRequest
} from '../../schemas/studio-generation.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { findLora } from '../a1111/model-names.ts'
import { readLoras } from '../a1111/lora-tags.ts'
import type { House } from '../house.ts'
import { newJobId, type Accepted, type Submitter } from '../jobs/submit.ts'
import { inventoriesOf } from '../models/servers.ts'
import { ValidationFailure } from '../simulator/failures.ts'
import { pydantic2 } from '../simulator/wire/pydantic2.ts'
import type { WebhookWish } from '../webhooks/subscription.ts'
import type { History } from './history.ts'
import { asDefaults, laidOver } from './layers.ts'
import { loraTags, mergedLoras, type WeightedLora } from './lora-prompt.ts'
import { studioUser, type StudioUser } from './owner.ts'
import {
  hiresParameters, imageParameters, says, sizeParameters, usualParameters, type Said
} from './parameters.ts'
import type { Pictures } from './pictures.ts'
import { readFields, validationDetail } from './read-fields.ts'
import type { UserRules } from './rules.ts'
import type { Session, Sessions } from './sessions.ts'
import { usualPixels } from './size.ts'

export type GenerationKind = 'txt2img' | 'img2img'

/** A request as it came, its form read, and who sends it. */
export interface StudioCall {
  readonly fields: Readonly<Record<string, unknown>>
  /** Id of the access key. */
  readonly keyId: string | null
  readonly webhook: WebhookWish | null
  readonly baseUrl: string
}

/** A request with everything that is stored for its user laid beneath it. */
export interface CompleteRequest {
  readonly user: StudioUser
  readonly said: Said
  readonly session: Session
  readonly warnings: readonly Warning[]
}

/** What to submit. */
interface Plan {
  readonly given: Readonly<Record<string, unknown>>
  readonly warnings: readonly Warning[]
}

export interface Generations {
  /** @throws ValidationFailure or ServiceError naming the field */
  submit (kind: GenerationKind, call: StudioCall): Promise<Accepted>
}

export interface GenerationsDependencies {
  readonly house: Pick<House, 'registry' | 'states'>
  readonly submitter: Submitter
  readonly sessions: Sessions
  readonly history: History
  readonly rules: UserRules
  readonly pictures: Pictures
}

const schemas = {
  txt2img: StudioTxt2imgRequest,
  img2img: StudioImg2imgRequest
} satisfies Record<GenerationKind, TObject>
/** Every field of any request, so that what a user stores for one kind is no mistake for another. */
const knownFields: ReadonlySet<string> = new Set(
  Object.values(schemas).flatMap(({ properties }) => Object.keys(properties)))

export function createGenerations (dependencies: GenerationsDependencies): Generations {
  const { house: { registry, states }, submitter, sessions, history, rules, pictures } = dependencies

  async function complete (kind: GenerationKind, { fields, keyId }: StudioCall): Promise<CompleteRequest> {
    const user = studioUser({ keyId }, userIdOf(kind, fields))
    const session = await sessions.read(user)
    const stored = asDefaults(session.settings, knownFields)
    const warnings = stored.unknown.length === 0
      ? []
      : [{ code: 'unknown_settings_ignored', message: `These custom settings mean nothing to a generation: ${stored.unknown.slice(0, 20).join(', ')}.`, field: 'custom_settings' }]
    return { user, said: laidOver(fields, stored.fields), session, warnings }
  }

  const plans: Readonly<Record<GenerationKind, (request: CompleteRequest) => Promise<Plan>>> = {
    async txt2img ({ said }) {
      const fields = readFields(StudioTxt2imgRequest, said)
      const { size, warnings } = sizeParameters(fields, rules.mostPixels)
      return { given: { ...usualParameters(fields, said), ...size, ...hiresParameters(fields), mode: 'txt2img' }, warnings }
    },
    async img2img ({ said }) {
      const fields = readFields(StudioImg2imgRequest, said)
      const image = requiredImage(fields.image, 'image', said)
      const { size, warnings } = await imageSize(image, fields, said)
      return { given: { ...usualParameters(fields, said), ...size, ...imageParameters(fields) }, warnings }
    }
  }

  /** The size that was asked for, else the image's own as far as models draw well. */
  async function imageSize (image: string, asked: { width: number, height: number }, said: Said) {
    const own = await pictures.sizeOf(image, 'image')
    if (!says(said, 'width') && !says(said, 'height')) {
      return { size: sizeParameters(own, Math.min(usualPixels, rules.mostPixels)).size, warnings: [] }
    }
    const width = says(said, 'width') ? asked.width : asked.height * own.width / own.height
    const height = says(said, 'height') ? asked.height : asked.width * own.height / own.width
    return sizeParameters({ width, height }, rules.mostPixels)
  }

  /** The prompt with the LoRAs of request and session. What a session remembers and no server has is left out. */
  async function withLoras (plan: Plan, { said, session }: CompleteRequest): Promise<Plan> {
    const own = readLoras('loras', said.loras).map(({ name, weight }): WeightedLora => [name, weight])
    const known = await knownLoras()
    const isKnown = ([filename]: WeightedLora) => known === null || known(filename)
    const remembered = session.loras.filter(isKnown)
    const warnings = session.loras.filter(lora => !isKnown(lora)).map(([filename]) => ({
      code: 'session_lora_left_out', message: `No server has the LoRA ${filename} of the session, so it was left out.`, field: 'loras'
    }))
    const words = String(plan.given.prompt)
    const prompt = [words, loraTags(words, mergedLoras(own, remembered))].filter(part => part !== '').join(' ')
    return { given: { ...plan.given, prompt }, warnings: [...plan.warnings, ...warnings] }
  }

  /** Whether any server has a LoRA; null where no server has told yet. */
  async function knownLoras (): Promise<((filename: string) => boolean) | null> {
    const inventories = (await inventoriesOf(registry, states)).flatMap(({ inventory }) => inventory ?? [])
    const telling = inventories.filter(({ missing }) => !missing.includes('loras'))
    if (telling.length === 0 || telling.length < inventories.length) return null
    return filename => telling.some(inventory => {
      try {
        return findLora(filename, inventory) !== null
      } catch {
        return true
      }
    })
  }

  return {
    async submit (kind, call) {
      const request = await complete(kind, call)
      const { user } = request
      const plan = await withLoras(await plans[kind](request), request)
      rules.checkWords(textsOf(plan.given))
      const id = newJobId()
      await rules.enter(user, [id])
      try {
        const checked = await submitter.check({
          target: String(request.said.server ?? ''),
          given: plan.given,
          appType: 'studio',
          source: 'studio',
          priority: 5,
          onMissing: 'refuse',
          onDifference: 'warn',
          keyId: call.keyId,
          bulkId: null,
          webhook: call.webhook,
          baseUrl: call.baseUrl,
          studio: { user: user.id, kind }
        })
        await history.add(user, id)
        const accepted = await submitter.accept(checked, id)
        return { ...accepted, warnings: [...request.warnings, ...plan.warnings, ...accepted.warnings] }
      } catch (error) {
        await rules.leave(user, [id])
        throw error
      }
    }
  }
}

/** @throws ValidationFailure with everything else that is wrong beside it */
function userIdOf (kind: GenerationKind, fields: StudioCall['fields']): string {
  const { user_id: id } = fields
  return typeof id === 'string' && id.length <= 200 && id !== '' ? id : readFields(schemas[kind], fields).user_id
}

/** @throws ValidationFailure */
function requiredImage (image: string | null, field: string, said: Said): string {
  if (image !== null) return image
  throw new ValidationFailure([validationDetail(['body', field], said, pydantic2.missing)])
}

function textsOf ({ prompt }: Readonly<Record<string, unknown>>): Record<string, string> {
  return { prompt: String(prompt ?? '') }
}
