/** Lets the store write its records without a queue: for filling Redis with jobs that have long ended. */
export const recordsOnly = 'local function addEntry () end\nlocal function removeEntry () end\n'

/** The dial of the pool where nothing is claimed. */
export const fillDial = { patience: 48, lightPatience: 2, lightJobs: 3 }
