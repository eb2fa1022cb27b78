import { useState } from './html.js'

/**
 * The selected jobs of a list: some by their ids, or all that match.
 * @param {(from: number, to: number) => Promise<string[]>} idsBetween
 */
export function useSelection (idsBetween) {
  /** With the row of the last selection. */
  const [chosen, setChosen] = useState({ ids: new Set(), all: false, anchor: null })
  const { anchor } = chosen

  const clear = () => setChosen({ ids: new Set(), all: false, anchor: null })

  return {
    /** A new object after each change. */
    state: chosen,
    ids: chosen.ids,
    all: chosen.all,
    has: id => chosen.all || chosen.ids.has(id),
    clear,
    chooseAll: () => setChosen({ ids: new Set(), all: true, anchor: null }),
    /** With Shift, every row since the last selection. */
    async toggle (index, id, withShift) {
      if (chosen.all) return clear()
      const ids = new Set(chosen.ids)
      if (withShift && anchor !== null) {
        const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)]
        for (const between of await idsBetween(from, to)) ids.add(between)
      } else if (ids.has(id)) ids.delete(id)
      else ids.add(id)
      setChosen({ ids, all: false, anchor: index })
    }
  }
}
