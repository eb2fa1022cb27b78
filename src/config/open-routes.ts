/** Routes that change or stop a server; closed unless the setting SDAPI_OPEN_ROUTES names them. */
export const dangerousRoutes = [
  'unload-checkpoint', 'reload-checkpoint', 'server-restart', 'server-stop', 'server-kill',
  'create/embedding', 'create/hypernetwork', 'train/embedding', 'train/hypernetwork'
] as const

/** Routes that end the server must not wait for the possible reason for ending it. */
export const endingRoutes: readonly string[] = ['server-restart', 'server-stop', 'server-kill']

/** One path, or with `/*` at its end all below it. */
const openable = /^(\/[\w-][\w.-]*)+(\/\*)?$/

/**
 * Checks one entry of SDAPI_OPEN_ROUTES.
 * @throws Error whose sentence continues after "it"
 */
export function checkOpenRoute (entry: string): void {
  if (dangerousRoutes.some(name => name === entry) || openable.test(entry)) return
  throw new Error(`must be one of ${dangerousRoutes.join(', ')}, or a path such as /adetailer/v1/ad_model or /adetailer/v1/*`)
}

/** The paths among them, which are no routes of ours. */
export function openedPaths (entries: readonly string[]): string[] {
  return entries.filter(entry => entry.startsWith('/'))
}

/** Whether a path could lead elsewhere after a server has normalised it. */
export function hasPathTraversal (path: string): boolean {
  return /\.\.|%2e|%2f|%5c|\\/i.test(path)
}
