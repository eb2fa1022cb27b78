/** A moment in milliseconds since the epoch as the interface shows it; null where there is none. */
export function iso (moment: number): string
export function iso (moment: number | null | undefined): string | null
export function iso (moment: number | null | undefined): string | null {
  return moment == null ? null : new Date(moment).toISOString()
}
