import { Type, type Static } from '@sinclair/typebox'
import { Nullable } from './kit.ts'

const waiting = (where: string) => Type.Integer({ description: `Waiting jobs ${where}.`, minimum: 0, examples: [4] })
const running = (where: string) => Type.Integer({ description: `Running jobs ${where}.`, minimum: 0, examples: [1] })
const wait = (of: string) => Nullable(Type.Integer({ description: `Seconds until ${of}, if known.`, examples: [38] }))

export const StudioQueue = Type.Object({
  position: Type.Integer({ description: 'Best queue position for the next job, from 1.', minimum: 1, examples: [3] }),
  total_jobs: Type.Integer({ description: 'Waiting and running jobs of all users.', minimum: 0, examples: [5] }),
  waiting: waiting('at all servers'),
  running: running('at all servers'),
  estimated_wait_time: wait('the next job would begin at best'),
  servers: Type.Array(Type.Object({
    alias: Type.String({ description: 'The server.', examples: ['Main'] }),
    waiting: waiting('at it'),
    running: running('at it'),
    estimated_wait_time: wait('it has done all of that')
  }), { description: 'Every enabled server.' })
}, { $id: 'StudioQueue', description: 'How much there is to do before the next job.' })
export type StudioQueue = Static<typeof StudioQueue>
