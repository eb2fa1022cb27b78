/** Milliseconds of a clock that all processes of one machine share. */
export function now (): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** The value below which this share of all lies; NaN where there is none. @param share 0 to 1 */
export function quantile (values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

export function median (values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Such as `1.23 ms`. */
export function inMilliseconds (value: number): string {
  return `${value.toFixed(value < 100 ? 2 : 0)} ms`
}

/** Median and 99th percentile of times in milliseconds. */
export function spread (times: readonly number[]): string {
  return `${inMilliseconds(median(times))}, p99 ${inMilliseconds(quantile(times, 0.99))}`
}

export function asRatio (measured: number, limit: number): string {
  return (measured / limit).toFixed(2)
}

export function asShare (measured: number, limit: number): string {
  return `${Math.round(measured / limit * 100)} %`
}

/** Such as `1,234/s`. */
/** Processor time of one unit of work. */
export function inMicroseconds (value: number): string {
  return `${Math.round(value)} µs`
}

export function perSecond (value: number): string {
  return `${Math.round(value).toLocaleString('en')}/s`
}

export function inMebibytes (bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}
