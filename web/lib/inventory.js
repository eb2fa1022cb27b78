import { servers } from './service.js'

/** Lists of an inventory that the form offers. */
const lists = ['vaes', 'samplers', 'schedulers', 'upscalers', 'latent_upscale_modes']

/** Servers that can get a job: the named one, or all from which the service chooses. */
function candidates (known, alias) {
  if (alias !== '') return known.filter(server => server.alias === alias)
  const enabled = known.filter(({ enabled }) => enabled)
  const real = enabled.filter(server => !server.is_simulator)
  return real.length > 0 ? real : enabled
}

/**
 * The names that a job for this server can use, or for any server if the alias is empty.
 * @returns {Promise<Record<string, string[]>>} names under checkpoints, samplers, schedulers and so on
 */
export async function readChoices (known, alias, signal) {
  const inventories = await Promise.all(candidates(known, alias).map(server => servers.inventory(server.alias, signal)))
  const union = pick => [...new Set(inventories.flatMap(pick))]
  return {
    checkpoints: union(({ checkpoints }) => checkpoints.map(({ title }) => title)),
    ...Object.fromEntries(lists.map(name => [name, union(inventory => inventory[name])]))
  }
}
