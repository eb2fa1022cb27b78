interface Tool {
  /** Empty if the test is left out. */
  readonly path: string
  /** For the options of a test: the reason why this machine cannot reach the tool. */
  readonly skip: string | false
}

/**
 * A program of test/ecosystem/tools.mjs. The test run reads from these calls which ones to get.
 * @throws Error if the run did not try to get it
 */
export function tool (name: string): Tool {
  const tools = JSON.parse(process.env.STABLEQUEUE_TEST_TOOLS ?? '{}') as Record<string, { path?: string, reason?: string }>
  const { path, reason } = tools[name] ?? {}
  if (path !== undefined) return { path, skip: false }
  if (reason !== undefined) return { path: '', skip: `${name} cannot be reached: ${reason}` }
  throw new Error(`There is no ${name}: its installation failed, or this test was not started by npm.`)
}
