import { isUploadedImage } from './media-types.ts'

/** Reads parsed JSON of unknown form: each function returns a harmless value for a missing one. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Null unless the value is an object and no list. An uploaded image is none: its client sent a text. */
export function objectOf (value: unknown): JsonObject | null {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value) && !isUploadedImage(value)
  return isObject ? value as JsonObject : null
}

/** The value's fields; none unless it is an object. */
export function fieldsOf (value: unknown): JsonObject {
  return objectOf(value) ?? {}
}

/** Null unless the value is a finite number. */
export function numberOf (value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

/** Null unless the value is text with something in it. */
export function textOf (value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** The strings of a list; none unless it is one. */
export function textsOf (value: unknown): string[] {
  return Array.isArray(value) ? value.filter(entry => typeof entry === 'string') : []
}
