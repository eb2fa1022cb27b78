import { t } from '../texts/en/queue.ts'

/** The next step after a failure, by its code. The page shows the service's own message above it. */
const advice: Readonly<Record<string, string>> = {
  out_of_memory: t.makeImageSmallerLowerBatch,
  validation: t.submitItAgainWith,
  nan: t.tryAnotherVaeOrAnother,
  deadline_passed: t.giveServerMoreTimeOn,
  bad_gateway: t.raiseTimeLimitOf,
  forbidden: t.exemptGenerationsFromRulesOf,
  server_capability: t.sendItToServerThat,
  stalled: t.checkServersOwnOutputIts,
  quarantined: t.itsServerCrashedTwiceDuring,
  unauthorized: t.correctUserNameAnd,
  checkpoint_not_found: t.chooseCheckpointThatServer,
  different_result: t.serverGeneratedSomethingOther,
  server_removed: t.moveItToAnother,
  storage_full: t.freeSpaceOnDiskOf,
  connection_lost: t.jobContinuesByItself,
  cuda_poisoned: t.restartServerItsQueue
}

/** @returns a sentence, or an empty string if there is nothing to add */
export function adviceFor (code: string) {
  return advice[code] ?? ''
}
