import { createInterface } from 'node:readline/promises'
import { UsageError } from '../lib/errors.ts'
import type { Output } from './output.ts'
import { type LocalCommands, runCommand } from './program.ts'

/** Writes to this process's own streams. */
export const standardOutput: Output = {
  out: text => { process.stdout.write(text) },
  note: text => { process.stderr.write(text) },
  // A terminal that knows no size says 0.
  width: process.stderr.isTTY ? process.stderr.columns || 80 : null,
  async confirm (question) {
    if (!process.stdin.isTTY) return false
    const lines = createInterface({ input: process.stdin, output: process.stderr })
    try {
      return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim())
    } finally {
      lines.close()
    }
  }
}

const elsewhere = async (): Promise<never> => { throw new UsageError('This command runs only on the machine of the service.') }

/** The program that src/launch.mjs loads for these runs in another bundle. */
const noLocalCommands: LocalCommands = {
  serve: elsewhere, simulate: elsewhere, doctor: elsewhere, copyMedia: elsewhere, withKeys: elsewhere
}

/**
 * The command line.
 * @param local what only the machine of the service can do; without it, the rest
 * @returns the exit code; null while the process lives on
 */
export async function runHere (argv: readonly string[], local: LocalCommands): Promise<number | null> {
  return await runCommand(argv, {
    local, output: standardOutput, surroundings: { environment: process.env, folder: process.cwd() }
  })
}

/** Commands that talk to a running service, and all help: a small program, which loads quickly. */
export async function main (argv: readonly string[]): Promise<void> {
  process.exitCode = await runHere(argv, noLocalCommands) ?? 0
}
