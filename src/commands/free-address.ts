import { once } from 'node:events'
import { createServer } from 'node:net'

export interface ListenAddress {
  readonly host: string
  readonly port: number
  /** Names of the settings, for the sentence. */
  readonly settings: { readonly host: string, readonly port: string }
  /** What starts this process, such as `npm start`. */
  readonly command: string
}

/**
 * Makes sure that this process can listen there, before anything else is started for it.
 * @throws Error with a sentence that says what to set
 */
export async function requireFreeAddress (address: ListenAddress): Promise<void> {
  const { host, port } = address
  if (port === 0) return
  const server = createServer()
  try {
    const listening = once(server, 'listening')
    server.listen({ host, port })
    await listening
  } catch (error) {
    throw listenProblem(error, address)
  } finally {
    if (server.listening) await new Promise(resolve => { server.close(resolve) })
  }
}

/** The error of a listener in words that help. */
export function listenProblem (error: unknown, { host, port, settings, command }: ListenAddress): Error {
  const { code } = error as NodeJS.ErrnoException
  const sentence = {
    EADDRINUSE: `Port ${port} of ${host} is in use by another program, maybe by StableQueue itself. Stop that, or use ` +
      `another port: ${settings.port}=${port + 1} ${command}`,
    EACCES: `This user cannot listen on port ${port}; ports below 1024 need more rights. Use another port: ` +
      `${settings.port}=${port < 1024 ? 3000 : port + 1} ${command}`,
    EADDRNOTAVAIL: `${settings.host} is ${host}, which is no address of this machine. Use one of its own, 127.0.0.1 for ` +
      `this machine alone or 0.0.0.0 for all: ${settings.host}=127.0.0.1 ${command}`,
    ENOTFOUND: `${settings.host} is ${host}, which is no known name. Use an address of this machine, such as 127.0.0.1: ` +
      `${settings.host}=127.0.0.1 ${command}`
  }[String(code)]
  return sentence === undefined ? error as Error : new Error(sentence, { cause: error })
}
