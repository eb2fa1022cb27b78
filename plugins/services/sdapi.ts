import fp from 'fastify-plugin'
import { type Pause, realPause } from '../../src/sdapi/answer.ts'
import { createBackgroundTasks, type BackgroundTasks } from '../../src/sdapi/background-tasks.ts'
import { type ClientJobs, createClientJobs } from '../../src/sdapi/clients.ts'
import { createJobSearch, type JobSearch } from '../../src/sdapi/job-search.ts'
import { createOptionsService, createOwnOptions, type OptionsService, type OwnOptionsStore } from '../../src/sdapi/options.ts'
import { createOutcomes, type Outcomes } from '../../src/sdapi/outcome.ts'
import { createPassThrough, type PassThrough } from '../../src/sdapi/pass-through.ts'
import { type ClientTasks, createClientTasks } from '../../src/sdapi/progress.ts'
import {
  createLastKnown, createUpstreamClients, readWhenReachable, type UpstreamClients
} from '../../src/sdapi/upstream-clients.ts'
import { createExclusiveCalls } from '../../src/servers/exclusive-calls.ts'
import { decorateAll } from './process.ts'

interface SdapiServices {
  readonly upstream: UpstreamClients
  readonly ownOptions: OwnOptionsStore
  readonly optionsService: OptionsService
  readonly clientJobs: ClientJobs
  readonly clientTasks: ClientTasks
  readonly outcomes: Outcomes
  readonly jobSearch: JobSearch
  readonly backgroundTasks: BackgroundTasks
  readonly passThrough: PassThrough
  /** Between two blanks of a waiting answer. */
  readonly pause: Pause
}

declare module 'fastify' {
  interface FastifyInstance extends SdapiServices {}
}

export interface SdapiServicesOptions {
  /** Real time except in tests. */
  readonly pause?: Pause | undefined
}

/** Services for A1111's own API beside the jobs: its view of the servers, and stored data of each client. */
export default fp<SdapiServicesOptions>(async (app, { pause = realPause }) => {
  const { config, redis, subscriber, keys, registry, states, jobStore: store, jobList, connect, log } = app
  const upstream = createUpstreamClients({
    registry, states, waitingOn: store.waitingOn, connect, lastKnown: createLastKnown(redis, keys)
  })
  const exclusiveCalls = await createExclusiveCalls({ redis, subscriber, keys })
  const stopReading = readWhenReachable({ redis, subscriber, keys, registry, states, log, read: upstream.read })
  app.addHook('onClose', async () => {
    stopReading()
    exclusiveCalls.close()
    await upstream.close()
  })

  const backgroundTasks = createBackgroundTasks(app.downloads, app.florence)
  const ownOptions = createOwnOptions(redis, keys)
  const clientJobs = createClientJobs(redis, keys, store)
  decorateAll<SdapiServices>(app, {
    upstream,
    ownOptions,
    optionsService: createOptionsService({ upstream, own: ownOptions, registry, states }),
    clientJobs,
    clientTasks: createClientTasks(redis, keys),
    outcomes: createOutcomes({ jobOutcome: app.jobOutcome, clientJobs }),
    jobSearch: createJobSearch(jobList, backgroundTasks),
    backgroundTasks,
    passThrough: createPassThrough({
      upstream,
      exclusiveCalls,
      timeoutMs: config.JOB_TIMEOUT_SECONDS * 1000,
      maxAnswerBytes: config.RESULT_MAX_MIB * 1024 * 1024
    }),
    pause
  })
}, { name: 'sdapi-services', fastify: '5.x', dependencies: ['process', 'job-services'] })
