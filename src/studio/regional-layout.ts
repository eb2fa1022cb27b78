import type { RegionalConfig, RegionalLora } from '../../schemas/studio-regional.ts'
import { invalidField } from '../a1111/field-values.ts'

/** One region as the layout has it. */
export interface Region {
  readonly prompt: string
  readonly field: string
  readonly loras: readonly RegionalLora[]
  readonly lorasField: string
}

/** A layout in the words of the Regional Prompter's matrix. */
export interface MatrixLayout {
  /** `Columns` has rows outside and columns inside them, `Rows` the other way round. */
  readonly mode: 'Columns' | 'Rows'
  readonly ratios: string
  readonly regions: readonly Region[]
  /** What stands before each region but the first. */
  readonly separators: ReadonlyArray<'ADDCOL' | 'ADDROW'>
}

/** Each outer line with its share and the shares of its regions. */
type Lines = ReadonlyArray<{
  readonly ratio: number
  readonly shares: readonly number[]
  readonly regions: readonly Region[]
}>

/**
 * The matrix for a configuration. Regions of the five named layouts that were left out repeat the first two.
 * @throws ServiceError `invalid_field_value` or `missing_required_field` naming what does not fit the layout
 */
export function matrixLayout (config: RegionalConfig): MatrixLayout {
  if (config.layout === 'custom') return customLayout(config)
  refuse(config, ['rows', 'columns'], 'belongs to the layout custom')
  if (config.layout === 'quadrants') return quadrants(config)
  refuse(config, ['row_ratios'], 'belongs to the layout quadrants')
  const count = { vertical: 2, horizontal: 2, three_columns: 3, four_columns: 4 }[config.layout]
  const shares = sharesOf(config, 'ratios', count)
  const regions = namedRegions(config, count)
  const one = [{ ratio: 1, shares, regions }]
  return config.layout === 'horizontal' ? compile('Rows', one) : compile('Columns', one)
}

function quadrants (config: RegionalConfig): MatrixLayout {
  const shares = sharesOf(config, 'ratios', 2)
  const regions = namedRegions(config, 4)
  return compile('Columns', sharesOf(config, 'row_ratios', 2).map((ratio, row) =>
    ({ ratio, shares, regions: regions.slice(2 * row, 2 * row + 2) })))
}

function customLayout (config: RegionalConfig): MatrixLayout {
  refuse(config, ['ratios', 'row_ratios', 'region1_prompt', 'region2_prompt', 'region3_prompt', 'region4_prompt'],
    'belongs to the other layouts; custom has it in rows or columns')
  const { rows, columns } = config
  if (rows != null && columns != null) {
    throw invalidField('regional_config.columns', 'A custom layout has either rows or columns, not both.')
  }
  const [name, given] = rows != null ? ['rows', rows] as const : ['columns', columns] as const
  if (given == null || given.length === 0) {
    throw invalidField('regional_config.rows', 'The layout custom needs rows, or columns, with their cells.')
  }
  const lines = given.map(({ ratio = 1, cells }, line) => ({
    ratio,
    shares: cells.map(cell => cell.ratio ?? 1),
    regions: cells.map(({ prompt, loras }, cell) => {
      const field = `regional_config.${name}.${line}.cells.${cell}`
      return { prompt, field: `${field}.prompt`, loras: loras ?? [], lorasField: `${field}.loras` }
    })
  }))
  if (lines.flatMap(({ regions }) => regions).length < 2) {
    throw invalidField(`regional_config.${name}`, 'A picture with regions needs at least two of them.')
  }
  return compile(name === 'rows' ? 'Columns' : 'Rows', lines)
}

/**
 * One line needs no ratio of its own. More become `its share, shares of its regions` each, with the other sign
 * between them: in `Columns` mode `,` inside and `;` outside, in `Rows` mode the other way round.
 */
function compile (mode: MatrixLayout['mode'], lines: Lines): MatrixLayout {
  const [inside, outside] = mode === 'Columns' ? [',', ';'] : [';', ',']
  const [first] = lines
  const ratios = lines.length === 1 && first !== undefined
    ? first.shares.join(',')
    : lines.map(({ ratio, shares }) => [ratio, ...shares].join(inside)).join(outside)
  const [between, next] = mode === 'Columns' ? ['ADDCOL', 'ADDROW'] as const : ['ADDROW', 'ADDCOL'] as const
  return {
    mode,
    ratios,
    regions: lines.flatMap(({ regions }) => regions),
    separators: lines.flatMap(({ regions }) => regions.map((_, index) => index === 0 ? next : between)).slice(1)
  }
}

function namedRegions (config: RegionalConfig, count: number): Region[] {
  const first = namedRegion(config, 1)
  const second = namedRegion(config, 2)
  if (first === null || second === null) {
    const field = `regional_config.region${first === null ? 1 : 2}_prompt`
    throw invalidField(field, `${field} is needed by the layout ${config.layout}.`)
  }
  return [first, second, namedRegion(config, 3) ?? first, namedRegion(config, 4) ?? second].slice(0, count)
}

function namedRegion (config: RegionalConfig, number: 1 | 2 | 3 | 4): Region | null {
  const prompt = config[`region${number}_prompt`]
  if (prompt == null) return null
  const field = `regional_config.region${number}`
  return { prompt, field: `${field}_prompt`, loras: config[`region${number}_loras`] ?? [], lorasField: `${field}_loras` }
}

function sharesOf (config: RegionalConfig, name: 'ratios' | 'row_ratios', count: number): readonly number[] {
  const shares = config[name] ?? Array.from({ length: count }, () => 1)
  if (shares.length === count) return shares
  const field = `regional_config.${name}`
  throw invalidField(field, `${field} needs ${count} numbers for the layout ${config.layout}, not ${shares.length}.`)
}

function refuse (config: RegionalConfig, names: ReadonlyArray<keyof RegionalConfig>, reason: string): void {
  const name = names.find(name => config[name] != null)
  if (name !== undefined) throw invalidField(`regional_config.${name}`, `regional_config.${name} ${reason}.`)
}
