import { useState } from 'preact/hooks'

interface Chosen {
  readonly ids: ReadonlySet<string>
  readonly all: boolean
  /** The row of the last selection. */
  readonly anchor: number | null
}

export interface Selection {
  /** A new object after each change. */
  readonly state: object
  readonly ids: ReadonlySet<string>
  readonly all: boolean
  readonly has: (id: string) => boolean
  readonly clear: () => void
  readonly chooseAll: () => void
  /** With Shift, every row since the last selection. */
  readonly toggle: (index: number, id: string, withShift: boolean) => Promise<void>
}

const none: Chosen = { ids: new Set(), all: false, anchor: null }

/**
 * The selected jobs of a list: some by their ids, or all that match.
 * @param search another one shows other jobs, of which none is selected
 */
export function useSelection (
  search: string, idsBetween: (from: number, to: number) => Promise<string[]>
): Selection {
  const [kept, setChosen] = useState({ chosen: none, search })
  const chosen = kept.search === search ? kept.chosen : none
  const { anchor } = chosen

  const choose = (next: Chosen) => setChosen({ chosen: next, search })
  const clear = () => choose(none)

  return {
    state: chosen,
    ids: chosen.ids,
    all: chosen.all,
    has: (id: string) => chosen.all || chosen.ids.has(id),
    clear,
    chooseAll: () => choose({ ids: new Set(), all: true, anchor: null }),
    async toggle (index: number, id: string, withShift: boolean) {
      if (chosen.all) return clear()
      const ids = new Set(chosen.ids)
      if (withShift && anchor !== null) {
        const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)]
        for (const between of await idsBetween(from, to)) ids.add(between)
      } else if (ids.has(id)) ids.delete(id)
      else ids.add(id)
      choose({ ids, all: false, anchor: index })
    }
  }
}
