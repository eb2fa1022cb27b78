/** Where a client wants a page of a list to begin. */
export interface PageRequest {
  /** `next_cursor` of the page before; takes precedence. */
  readonly cursor?: string | undefined
  readonly offset?: number | undefined
  readonly limit: number
}

/** The rank from 0 at which a page begins, and the cursor of the page behind it; null at the end of the list. */
export function pageOf ({ cursor, offset = 0, limit }: PageRequest) {
  const begin = cursor === undefined ? offset : Number(cursor)
  return { begin, next: (total: number) => begin + limit < total ? String(begin + limit) : null }
}
