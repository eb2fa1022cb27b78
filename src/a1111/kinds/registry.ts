import type { Dialect, ServerTraits } from '../types.ts'
import { a1111 } from './a1111.ts'
import { forgeClassic } from './forge-classic.ts'
import { forgeNeo } from './forge-neo.ts'
import { forge } from './forge.ts'
import type { ServerKindRules, Sight } from './kind.ts'
import { reforge } from './reforge.ts'
import { sdcpp } from './sdcpp.ts'
import { sdnext } from './sdnext.ts'

/** Every kind of server. A server can match several of them: the most particular come first. */
const kinds: Readonly<Record<Dialect, ServerKindRules>> = {
  sdcpp, sdnext, 'forge-neo': forgeNeo, forge, 'forge-classic': forgeClassic, reforge, a1111
}

export function recogniseKind (sight: Sight): Dialect {
  const found = (Object.keys(kinds) as Dialect[]).find(kind => kinds[kind].isSeenIn(sight))
  return found ?? 'a1111'
}

/** The rules of a server's kind, for a simulator those of the kind that it behaves like; null: unknown yet. */
export function rulesOf (traits: Pick<ServerTraits, 'kind' | 'simulates'> | null): ServerKindRules {
  if (traits === null) return kinds.a1111
  const { kind, simulates } = traits
  return kinds[kind === 'simulator' ? simulates ?? 'a1111' : kind]
}
