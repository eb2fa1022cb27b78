/** The next step after a failure, by its code. The page shows the service's own message above it. */
const advice: Readonly<Record<string, string>> = {
  out_of_memory: 'Make the image smaller, lower the batch size, or switch hires fix off; then submit it again with changes.',
  validation: 'Submit it again with changes.',
  nan: 'Try another VAE or another checkpoint, or start the server with --no-half-vae.',
  deadline_passed: 'Give the server more time (on the Servers page, or JOB_TIMEOUT_SECONDS), or use fewer steps or pixels.',
  bad_gateway: 'Raise the time limit of the proxy, or register the address of the server itself.',
  forbidden: 'Exempt generations from the rules of the firewall or proxy in front of the server, or register the server\'s own address.',
  server_capability: 'Send it to a server that offers this, or add the missing part to this one.',
  stalled: 'Check the server\'s own output: its GPU possibly hangs. The job is retried once the server answers.',
  quarantined: 'Its server crashed twice during this job. Check the server\'s log before you retry it.',
  unauthorized: 'Correct user name and password of the server on the page Servers.',
  checkpoint_not_found: 'Choose a checkpoint that the server has.',
  different_result: 'The server generated something other than requested; see the warnings.',
  server_removed: 'Move it to another server and retry it.',
  storage_full: 'Free space on the disk of DATA_DIR, or make the bucket of MEDIA_URL available, then retry it.',
  connection_lost: 'The job continues by itself when the server is back.',
  cuda_poisoned: 'Restart the server; its queue waits until then.'
}

/** @returns a sentence, or an empty string if there is nothing to add */
export function adviceFor (code: string) {
  return advice[code] ?? ''
}
