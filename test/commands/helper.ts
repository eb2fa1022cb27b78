import { type LocalCommands, runCommand } from '../../src/commands/program.ts'

const elsewhere = async (): Promise<never> => { throw new Error('only on the machine of the service') }
export const noLocalCommands: LocalCommands = {
  serve: elsewhere, simulate: elsewhere, doctor: elsewhere, copyMedia: elsewhere, withKeys: elsewhere
}

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly notes: string
}

export interface RunOptions {
  readonly environment?: Readonly<Record<string, string>>
  readonly folder?: string
  /** The answer of a person; by default there is none. */
  readonly confirms?: boolean
  readonly local?: Partial<LocalCommands>
  readonly width?: number
  readonly onNote?: (text: string) => void
}

/** Runs a command line in this process. */
export async function run (argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  let [out, notes] = ['', '']
  const code = await runCommand(argv, {
    local: { ...noLocalCommands, ...options.local },
    output: {
      out: text => { out += text },
      note: text => {
        notes += text
        options.onNote?.(text)
      },
      width: options.width ?? null,
      confirm: async () => options.confirms === true
    },
    surroundings: { environment: { STABLEQUEUE_CONFIG: '', XDG_CONFIG_HOME: '/nowhere', ...options.environment }, folder: options.folder ?? '/nowhere' }
  })
  return { code, out, notes }
}
