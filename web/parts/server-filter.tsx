import { type Route, setQuery } from '../lib/router.ts'
import { common } from '../texts/en/common.ts'

/** Narrows a list to one server, in the address of the page. */
export function ServerFilter ({ route, value, aliases }: { route: Route, value: string, aliases: readonly string[] }) {
  return (
    <select
      aria-label={common.server} value={value}
      onChange={event => setQuery(route, { server: event.currentTarget.value })}
    >
      <option value='' selected={value === ''}>{common.allServers}</option>
      {aliases.map(alias => <option key={alias} value={alias} selected={alias === value}>{alias}</option>)}
    </select>
  )
}
