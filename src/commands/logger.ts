import { pino, type Logger } from 'pino'
import type { Config } from '../config/settings.ts'
import { serializeError } from '../lib/error-serializer.ts'

/** Never in a log line, whoever writes it. */
const secrets = [
  'req.headers.authorization', 'req.headers.cookie', 'req.headers["x-api-key"]', 'req.headers["x-api-secret"]',
  'req.headers["x-webhook-key"]', '*.password', '*.secret'
]

/** What pino is told of them. */
export const redaction = { paths: secrets, censor: '(hidden)' }

/** JSON lines to standard output; readable ones on a terminal. */
export function createLogger (config: Pick<Config, 'LOG_LEVEL'>): Logger {
  const options = { level: config.LOG_LEVEL, redact: redaction, serializers: { err: serializeError } }
  if (!process.stdout.isTTY) return pino(options)
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', translateTime: 'HH:MM:ss', singleLine: true } }
  })
}
