import type { ModelView } from '../../schemas/model.ts'
import { counted, type Output, printJson, tableOf } from './output.ts'
import type { Service } from './service.ts'

export interface ModelOptions {
  readonly type?: string
  readonly server?: string
  readonly search?: string
  readonly limit: number
  readonly json?: boolean
}

/** Lists models. */
export async function listModels (
  service: Service, { json = false, limit, ...filter }: ModelOptions, output: Output
): Promise<number> {
  const query = new URLSearchParams({ limit: String(limit), ...filter })
  const { models, total } = await service.ask('GET', `/api/v1/models?${query}`) as { models: ModelView[], total: number }
  if (json) {
    printJson(output, { total, models })
    return 0
  }
  const rows = models.map(({ type, base_model: base, servers, path }) =>
    [type, base ?? '', servers.map(({ alias }) => alias).join(' '), path])
  output.out(models.length === 0 ? 'No models.\n' : tableOf(['TYPE', 'BASE', 'SERVERS', 'FILE'], rows, output.width))
  if (total > models.length) output.note(`These are ${models.length} of ${counted(total, 'model')}; --limit shows more.\n`)
  return 0
}
