import * as blocked from './figures/blocked.ts'
import * as cancel from './figures/cancel.ts'
import * as eta from './figures/eta.ts'
import * as failover from './figures/failover.ts'
import * as fleetChanges from './figures/fleet/changes.ts'
import * as fleetEta from './figures/fleet/eta.ts'
import * as fleetGap from './figures/fleet/gap.ts'
import * as fleetMixed from './figures/fleet/mixed.ts'
import * as fleetScale from './figures/fleet/scale.ts'
import * as fleetShares from './figures/fleet/shares.ts'
import * as fleetSpeeds from './figures/fleet/speeds.ts'
import * as gap from './figures/gap.ts'
import * as growth from './figures/growth.ts'
import * as idle from './figures/idle.ts'
import * as images from './figures/images.ts'
import * as latency from './figures/latency.ts'
import * as list from './figures/list.ts'
import * as listeners from './figures/listeners.ts'
import * as loras from './figures/loras.ts'
import * as media from './figures/media.ts'
import * as memory from './figures/memory.ts'
import * as models from './figures/models.ts'
import * as search from './figures/search.ts'
import * as start from './figures/start.ts'
import * as submissions from './figures/submissions.ts'
import * as throughput from './figures/throughput.ts'
import * as webhooks from './figures/webhooks.ts'
import type { Row } from './table.ts'

export interface Figure {
  /** The measured quantity, in a few words. */
  readonly about: string
  measure (): Promise<Row[]>
}

/** Everything that can be measured, by the name that selects it. */
export const figures: Readonly<Record<string, Figure>> = {
  gap,
  latency,
  submissions,
  throughput,
  list,
  search,
  memory,
  media,
  cancel,
  images,
  failover,
  models,
  loras,
  webhooks,
  blocked,
  eta,
  listeners,
  start,
  idle,
  'growth:jobs': growth.jobs,
  'growth:servers': growth.servers,
  'growth:listeners': growth.listeners,
  'fleet:mixed': fleetMixed,
  'fleet:speeds': fleetSpeeds,
  'fleet:shares': fleetShares,
  'fleet:changes': fleetChanges,
  'fleet:gap': fleetGap,
  'fleet:eta': fleetEta,
  'fleet:scale': fleetScale
}
