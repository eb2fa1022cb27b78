/** What a field of a request model holds. `strings` is a list of texts, `choice` one of `choices`. */
export type FieldKind = 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'list' | 'strings' | 'choice' | 'any'

/** One field of a request model of A1111. */
export interface Field {
  readonly kind: FieldKind
  readonly fallback: unknown
  /** Whether null is accepted. */
  readonly nullable: boolean
  readonly required: boolean
  /** Where a float has a whole number for its default, which Python leaves as it is. */
  readonly isFallbackWhole?: true
  readonly choices?: readonly number[]
  readonly atLeast?: number
  readonly above?: number
  readonly atMost?: number
}

export type Model = Readonly<Record<string, Field>>

/** A field that may be left out and may be null. */
export function optional (kind: FieldKind, fallback: unknown = null): Field {
  return { kind, fallback, nullable: true, required: false }
}

/** A field that may be left out but not be null, within bounds where those are given. */
export function strict (
  kind: FieldKind, fallback: unknown, bounds: Pick<Field, 'choices' | 'atLeast' | 'above' | 'atMost'> = {}
): Field {
  return { kind, fallback, nullable: false, required: false, ...bounds }
}

/** A field that must be there. */
export function required (kind: FieldKind): Field {
  return { kind, fallback: undefined, nullable: false, required: true }
}

/** Why a value does not fit, in the words of one pydantic. */
export interface Problem {
  readonly type: string
  readonly msg: string
  readonly ctx?: Readonly<Record<string, unknown>>
}

export type Coercion = { readonly value: unknown } | { readonly problem: Problem }

/** How one version of pydantic reads values and words its complaints. */
export interface Dialect {
  readonly coerce: (kind: Exclude<FieldKind, 'any' | 'choice'>, value: unknown) => Coercion
  readonly missing: Problem
  readonly notAnObject: (value: unknown) => Problem
  /** For a body that is any object, without a model. */
  readonly notADict: Problem
  /** Whether an empty list passes for an object. */
  readonly takesEmptyLists: boolean
  readonly noneProblem: (kind: FieldKind) => Problem
  readonly tooSmall: (limit: number | bigint, kind?: FieldKind) => Problem
  readonly notAbove: (limit: number | bigint, kind?: FieldKind) => Problem
  readonly tooBig: (limit: number | bigint, kind?: FieldKind) => Problem
  readonly notAChoice: (value: unknown, choices: readonly number[]) => Problem
  readonly badJson: (text: string) => { readonly location: number, readonly problem: Problem }
  /** The entry of `detail` for a problem. */
  readonly render: (
    location: ReadonlyArray<string | number>, value: unknown, problem: Problem
  ) => Record<string, unknown>
}
