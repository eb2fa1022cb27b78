import { isDeepStrictEqual } from 'node:util'
import type { BotBatchRequest, GridAxis } from '../../schemas/bots-job.ts'
import { invalidField, isRecord } from '../a1111/field-values.ts'
import { nearest } from '../a1111/names.ts'
import { ServiceError } from '../lib/errors.ts'
import { narrowInteger, stringifyJson } from '../lib/exact-json.ts'
import { isUploadedImage } from '../lib/media-types.ts'
import { readInteger, type Seed, seedAfter } from '../lib/seeds.ts'

type Fields = Readonly<Record<string, unknown>>

/** One generation of a batch. */
export interface GridCell {
  readonly fields: Fields
  readonly label: string
}

/** The cells of a batch: variation by variation, and in each the third axis before the second before the first. */
export interface Sweep {
  readonly cells: readonly GridCell[]
  readonly axes: ReadonlyArray<{ readonly field: string, readonly values: readonly string[] }>
}

export interface GridOptions {
  readonly knownFields: ReadonlySet<string>
  readonly maxCells: number
  /** A seed for cells without one. */
  readonly randomSeed: () => Seed
}

interface AxisValue {
  readonly apply: (fields: Fields) => Fields
  readonly label: string
}

/**
 * All generations of a batch.
 * @throws ServiceError `invalid_field_value` naming axis or variation
 */
export function expandGrid (request: BotBatchRequest, options: GridOptions): Sweep {
  const { base_request: base, variations, axes } = request
  const read = axes.map((axis, index) => axisValues(axis, `axes.${index}`, base, options.knownFields))
  const count = Math.max(1, variations.length) * read.reduce((product, values) => product * values.length, 1)
  if (count > options.maxCells) {
    throw invalidField('axes', `This makes ${count} generations; a batch can have at most ${options.maxCells}.`)
  }
  const starts: GridCell[] = variations.length === 0
    ? [{ fields: base, label: '' }]
    : variations.map((variation, index) =>
        ({ fields: { ...base, ...variation }, label: variationLabel(variation, index) }))
  // The last axis is the outermost, so that rows of the grid follow each other.
  const cells = read.reduceRight<GridCell[]>((cells, values) => cells.flatMap(cell =>
    values.map(({ apply, label }) => ({ fields: apply(cell.fields), label: joined(cell.label, label) }))), starts)
  return {
    cells: withSeeds(cells, request, options.randomSeed),
    axes: axes.map(({ field }, index) => ({ field, values: (read[index] ?? []).map(({ label }) => label) }))
  }
}

function axisValues (axis: GridAxis, place: string, base: Fields, known: ReadonlySet<string>): AxisValue[] {
  const { field, search } = axis
  const path = field.split('.')
  const [name = ''] = path
  if (!known.has(name)) {
    throw new ServiceError('invalid_field_value', `${name} is no field of a generation request.`, {
      field: `${place}.field`, nearest: nearest(name, [...known])
    })
  }
  const values = axis.values ?? rangeValues(axis, place)
  if (values.length === 0) throw invalidField(`${place}.values`, `${place}.values must have at least one value.`)
  if (search === null) {
    return values.map(value => ({ apply: fields => withValueAt(fields, path, value), label: shortened(`${field}: ${textOf(value)}`) }))
  }
  if (!String(valueAt(base, path) ?? '').includes(search)) {
    throw invalidField(`${place}.search`, `"${search}" is not in ${field} of the base request.`)
  }
  return values.map(value => ({
    apply: fields => withValueAt(fields, path, replaced(valueAt(fields, path), search, textOf(value))),
    label: shortened(textOf(value))
  }))
}

/** Longer ranges are a mistake in the step. */
const longestRange = 200

function rangeValues ({ range }: GridAxis, place: string): Seed[] {
  if (range === null) throw invalidField(`${place}.values`, `${place} needs values, or a range.`)
  const whole = wholeRange(range)
  const [start, stop, step] = [Number(range.start), Number(range.stop), Number(range.step)]
  if (whole !== null) {
    const count = whole.step === 0n ? 0n : (whole.stop - whole.start) / whole.step + 1n
    if (count >= 1n && count <= longestRange) {
      return Array.from({ length: Number(count) }, (_, index) =>
        narrowInteger(whole.start + BigInt(index) * whole.step))
    }
  }
  const count = step === 0 ? Infinity : Math.floor((stop - start) / step + 1e-9) + 1
  if (!(count >= 1 && count <= longestRange)) {
    throw invalidField(`${place}.range`, `${place}.range must lead from start to stop in 1 to ${longestRange} steps.`)
  }
  // Ten times 0.1 is not 1 in binary, and is not readable.
  return Array.from({ length: count }, (_, index) => Number((start + index * step).toFixed(9)))
}

/** A range of whole numbers, which seeds need exactly. */
function wholeRange ({ start, stop, step }: NonNullable<GridAxis['range']>) {
  if (![start, stop, step].every(part => typeof part === 'bigint' || Number.isSafeInteger(part))) return null
  return { start: BigInt(start), stop: BigInt(stop), step: BigInt(step) }
}

function valueAt (container: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) =>
    isRecord(value) || Array.isArray(value) ? Reflect.get(value, key) : undefined, container)
}

/** A copy that differs at one path; missing objects on the path are created. */
function withValueAt (container: unknown, path: readonly string[], value: unknown): Fields {
  const [key = '', ...rest] = path
  const copy: object = Array.isArray(container) ? [...container as unknown[]] : { ...isRecord(container) && container }
  const inner = rest.length === 0 ? value : withValueAt(Reflect.get(copy, key), rest, value)
  Object.defineProperty(copy, key, { value: inner, writable: true, enumerable: true, configurable: true })
  return copy as Fields
}

/** Cells that name a seed keep it. */
function withSeeds (
  cells: readonly GridCell[], { base_request: base, seed_mode: mode }: BotBatchRequest, draw: () => Seed
): GridCell[] {
  const given = readInteger(base.seed ?? -1)
  const first = given !== undefined && given >= 0 ? given : draw()
  return cells.map((cell, index) => {
    const ownSeed = cell.fields.seed !== undefined && !isDeepStrictEqual(cell.fields.seed, base.seed)
    if (ownSeed || mode === 'random') return ownSeed ? cell : { ...cell, fields: { ...cell.fields, seed: -1 } }
    return { ...cell, fields: { ...cell.fields, seed: mode === 'increment' ? seedAfter(first, index) : first } }
  })
}

function variationLabel (variation: Fields, index: number): string {
  const parts = Object.entries(variation).map(([name, value]) => `${name}: ${textOf(value)}`)
  return parts.length === 0 ? `variation ${index + 1}` : shortened(parts.join(', '))
}

const longestLabel = 60

function textOf (value: unknown): string {
  return typeof value === 'string' || isUploadedImage(value) ? String(value) : stringifyJson(value) ?? ''
}

function shortened (text: string): string {
  return text.length > longestLabel ? `${text.slice(0, longestLabel)}…` : text
}

function replaced (text: unknown, search: string, by: string): string {
  return String(text ?? '').replaceAll(search, () => by)
}

function joined (one: string, other: string): string {
  return one === '' ? other : `${one}, ${other}`
}
