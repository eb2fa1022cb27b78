/** What to do about a failure, by its code; what the service says about it stands above. */
const advice = {
  out_of_memory: 'Make the picture smaller, draw fewer at a time, or leave hires fix off; then submit it again with changes.',
  validation: 'Submit it again with changes.',
  nan: 'Try another VAE or another checkpoint, or start the server with --no-half-vae.',
  deadline_passed: 'Give the server more time (its page Servers, or JOB_TIMEOUT_SECONDS), or ask for fewer steps or pixels.',
  bad_gateway: 'Raise the time limit of the proxy, or register the address of the server itself.',
  forbidden: 'Except generations from the rules of what stands in front of the server, or register its own address.',
  server_capability: 'Send it to a server that offers this, or start this one with what is missing.',
  stalled: 'Look at the server\'s own output: its GPU may hang. It is tried again once the server answers.',
  quarantined: 'The servers died under it twice. Look at their logs before you retry it.',
  unauthorized: 'Correct user name and password of the server on the page Servers.',
  checkpoint_not_found: 'Choose a checkpoint that the server has.',
  different_result: 'The server drew something else than was asked for; see the warnings.',
  server_removed: 'Move it to another server and retry it.',
  storage_full: 'Make room on the disk of DATA_DIR, then retry it.',
  connection_lost: 'It goes on by itself when the server is back.',
  cuda_poisoned: 'Restart the server; the line waits until then.'
}

/** @returns {string} a sentence, or the empty text where there is nothing to add */
export function adviceFor (code) {
  return advice[code] ?? ''
}
