import type { Logger } from 'pino'

/** What the parts of the house need of a logger; pino's fits. */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error'>
