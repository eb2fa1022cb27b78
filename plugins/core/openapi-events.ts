import { webhookEvents } from '../../schemas/webhook.ts'

const header = (name: string, description: string) => ({
  name, in: 'header' as const, required: true, description, schema: { type: 'string' as const }
})

const meanings: Readonly<Record<typeof webhookEvents[number], string>> = {
  'job.started': 'A generation of the job began.',
  'job.progress': 'The job got on by a twentieth or more; at most one each second, sent once, and lost if it fails.',
  'job.completed': 'The job is done; its images are in the event.',
  'job.failed': 'The job failed for good.',
  'job.cancelled': 'The job was cancelled; it can still have images.',
  'webhook.test': 'Somebody wanted to see whether events arrive.'
}

/** What receivers get, for the top level of the OpenAPI document. */
export const eventsOfJobs = Object.fromEntries(webhookEvents.map(event => [event, {
  post: {
    operationId: `on_${event.replace('.', '_')}`,
    tags: ['Webhooks'],
    summary: meanings[event],
    description: 'Signed by Standard Webhooks 1.0.0. Any 2xx within the time limit is success; 410 means never again.',
    security: [],
    parameters: [
      header('webhook-id', 'Id of the event, the same at every attempt: what was seen before is a repeat.'),
      header('webhook-timestamp', 'Seconds since 1970, of this attempt.'),
      header('webhook-signature', 'One or more signatures, separated by spaces: v1,<base64 of HMAC-SHA-256>.')
    ],
    requestBody: {
      required: true,
      content: {
        'application/json': {
          schema: {
            type: 'object' as const,
            required: ['type', 'timestamp', 'data'],
            properties: {
              type: { type: 'string' as const, const: event },
              timestamp: { type: 'string' as const, format: 'date-time' },
              apiVersion: { type: 'string' as const, const: '1' },
              data: {
                type: 'object' as const,
                description: 'The whole job as it was then: id, status, sequence, createdAt, startedAt, finishedAt, ' +
                  'attempts, progress, parameters, metadata, result with images, error, links. Drop what has a lower ' +
                  'sequence than one seen before.',
                properties: { id: { type: 'string' as const }, sequence: { type: 'integer' as const } }
              }
            }
          }
        }
      }
    },
    responses: { '2XX': { description: 'Got it.' }, 410: { description: 'Send no more here.' } }
  }
}]))
