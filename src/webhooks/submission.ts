import type { Encryptor } from '../access/secrets.ts'
import { type EgressGuard, EgressRefusal } from '../egress/guard.ts'
import type { JobWarning } from '../jobs/job.ts'
import type { WebhookService } from '../jobs/submit.ts'
import { endpointId, seal, shownUrl, type WebhookRequest } from '../jobs/webhook-request.ts'
import { ServiceError } from '../lib/errors.ts'
import { withoutTrailing } from '../lib/text.ts'
import type { Endpoint, Endpoints } from './endpoints.ts'
import { isSigningKey, isSoundSigningKey, type SigningKeys } from './signing-keys.ts'

export interface WebhookServiceDependencies {
  readonly encryptor: Encryptor
  readonly guard: EgressGuard
  readonly signingKeys: SigningKeys
  readonly endpoints: Pick<Endpoints, 'find'>
  readonly requireHttps: boolean
  /** The setting PUBLIC_URL, or empty. */
  readonly publicUrl: string
}

/** undici, Node and old receivers agree on these only: visible ASCII, with spaces inside. */
const sendable = /^[\x21-\x7E]([\x20-\x7E]*[\x21-\x7E])?$/
const longestUrl = 2048

export function createWebhookService (dependencies: WebhookServiceDependencies): WebhookService {
  const { encryptor, guard, signingKeys, endpoints, requireHttps, publicUrl } = dependencies

  return {
    async check (requested, keyId) {
      const owner = requested === null || keyId !== null ? await signingKeys.read(keyId) : null
      const asked = requested ?? owner?.defaultEndpoint ?? null
      if (asked === null || asked.events.length === 0) return null
      const isBare = asked.images !== 'none' && owner !== null && !owner.mayReadImages
      const chosen = isBare ? { ...asked, images: 'none' as const } : asked
      checkKey(chosen)
      const url = parseAddress(chosen.url)
      if (requireHttps && url.protocol !== 'https:') {
        throw invalidUrl('must begin with https:// here (WEBHOOK_REQUIRE_HTTPS).')
      }
      await guard.check(url, owner?.reach ?? 'private').catch(refuse)
      const endpoint = await endpoints.find(endpointId(keyId, url))
      const warnings = [
        ...keyWarnings(chosen, url), ...endpointWarnings(endpoint), ...isBare ? [imagesLeftOut] : []
      ]
      return { requested: chosen, url, keyId, warnings }
    },
    subscribe ({ requested, url, keyId }, owner, baseUrl) {
      const { events, auth, images, format, key } = requested
      return {
        events,
        auth,
        images,
        format,
        shownUrl: shownUrl(url),
        endpoint: endpointId(keyId, url),
        hasKey: key !== null,
        sealed: seal(encryptor, { url: url.href, key }, owner),
        baseUrl: withoutTrailing(publicUrl === '' ? baseUrl : publicUrl, '/')
      }
    }
  }
}

const imagesLeftOut: JobWarning = {
  code: 'WEBHOOK_IMAGES_LEFT_OUT',
  message: 'Events come without images and links to them, since the key lacks the scope images:read.',
  field: 'webhookImages'
}

function checkKey ({ key, auth }: WebhookRequest): void {
  if (key === null) return
  if (isSigningKey(key)) {
    if (isSoundSigningKey(key)) return
    throw unsendable('must be whsec_ and 24 to 64 bytes in padded base64.')
  }
  if (auth === 'header+signature' && !sendable.test(key)) {
    throw unsendable('is sent as a header, so it can have only visible ASCII characters and no space at either ' +
      'end; or set webhookAuth to "signature".')
  }
}

function parseAddress (text: string): URL {
  const url = text.length <= longestUrl && URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw invalidUrl('must be an http or https address such as https://example.org/hook.')
  }
  if (url.username !== '' || url.password !== '') throw invalidUrl('must not contain user and password.')
  if (url.hash !== '') throw invalidUrl('must not have a part after #.')
  if (url.port === '0') throw invalidUrl('must not name port 0.')
  return url
}

function keyWarnings ({ key, auth }: WebhookRequest, url: URL): JobWarning[] {
  const inTheOpen = key !== null && !isSigningKey(key) && auth === 'header+signature' && url.protocol === 'http:'
  return inTheOpen
    ? [{
        code: 'WEBHOOK_KEY_CLEARTEXT',
        message: 'webhookKey would be sent over plain http, where others can read it; use https or a whsec_ key.',
        field: 'webhookKey'
      }]
    : []
}

/** Its jobs are accepted all the same: the receiver can be back by the time they finish. */
function endpointWarnings (endpoint: Endpoint | null): JobWarning[] {
  const warning = (code: string, message: string) => [{ code, message, field: 'webhookUrl' }]
  switch (endpoint?.state) {
    case 'gone': return warning('WEBHOOK_ENDPOINT_GONE', 'The receiver said 410 lately and gets nothing until it is a ' +
      'day ago, or POST /api/v1/webhooks/test succeeds there.')
    case 'disabled': return warning('WEBHOOK_ENDPOINT_DISABLED', 'The receiver failed for 5 days and gets nothing until ' +
      `POST /api/v1/webhooks/endpoints/${endpoint.id}/enable, or a test that succeeds there.`)
    default: return []
  }
}

function refuse (error: unknown): never {
  if (!(error instanceof EgressRefusal)) throw error
  throw new ServiceError('webhook_url_blocked', name => `${name} cannot be called: ${error.message}.`, { field: 'webhookUrl' })
}

function invalidUrl (complaint: string): ServiceError {
  return new ServiceError('webhook_url_invalid', name => `${name} ${complaint}`, { field: 'webhookUrl' })
}

function unsendable (complaint: string): ServiceError {
  return new ServiceError('webhook_key_unsendable', name => `${name} ${complaint}`, { field: 'webhookKey' })
}
