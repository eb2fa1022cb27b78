import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { learnFrom } from './cost-fit.ts'
import { newCostModel, type CostModel, type Workload } from './cost-model.ts'

/** What generations cost at each server, for every process to read. */
export interface CostStore {
  read (serverId: string): Promise<CostModel>
  /**
   * Takes a generation into account. To be called by the process that serves the server, one call after the other.
   * @param seconds from sending it to its answer
   */
  learn (serverId: string, workload: Workload, seconds: number): Promise<void>
  forget (serverId: string): Promise<void>
}

export function createCostStore (redis: Redis, keys: Keys): CostStore {
  const costKey = (serverId: string) => keys.key('server', serverId, 'costs')

  async function read (serverId: string): Promise<CostModel> {
    return parseCosts(await redis.get(costKey(serverId)))
  }

  return {
    read,
    async learn (serverId, workload, seconds) {
      const model = learnFrom(await read(serverId), workload, seconds)
      await redis.set(costKey(serverId), JSON.stringify(model))
    },
    async forget (serverId) {
      await redis.del(costKey(serverId))
    }
  }
}

/** The model of a record; a new one where there is none. */
export function parseCosts (text: string | null): CostModel {
  return text === null || text === '' ? newCostModel() : { ...newCostModel(), ...JSON.parse(text) as CostModel }
}
