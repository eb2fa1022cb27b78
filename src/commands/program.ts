import { Command, InvalidArgumentError, Option } from 'commander'
import { messageOf, UsageError } from '../lib/errors.ts'
import { version } from '../lib/version.ts'
import { completionScript, shells } from './completion.ts'
import { actOnJobs, jobLogs, listJobs, statuses, watchJobs } from './jobs.ts'
import { createKey, type KeyStore, keysOf, listKeys, revokeKey } from './keys.ts'
import { listModels } from './models.ts'
import type { Output } from './output.ts'
import { addServer, changeServer, listServers, removeServer } from './servers.ts'
import { connectService, findService, namesService, type Service, type ServiceOptions, type Surroundings } from './service.ts'
import { submit } from './submit.ts'

/** What only the machine of the service can do. Each returns its exit code, or null where the process lives on. */
export interface LocalCommands {
  serve (kind: 'start' | 'api' | 'worker', options: ServeOptions): Promise<null>
  simulate (parameters: readonly string[]): Promise<null>
  doctor (options: DoctorOptions): Promise<number>
  copyMedia (options: { readonly to: 's3' | 'folder', readonly verify?: boolean }): Promise<number>
  withKeys (work: (keys: KeyStore) => Promise<number>): Promise<number>
}

export interface ServeOptions {
  readonly a1111Url?: string
  readonly host?: string
  readonly port?: string
  readonly adoptDataDir?: boolean
}

export interface DoctorOptions extends ServiceOptions {
  readonly json?: boolean
  readonly thorough?: boolean
  readonly server?: string
  readonly checkpoint?: string
  readonly minutes?: string
}

export interface ProgramParts {
  readonly local: LocalCommands
  readonly output: Output
  readonly surroundings: Surroundings
  /** Receives the exit code of the command. */
  readonly end: (code: number) => void
}

const wholeNumber = (least: number, most = Number.MAX_SAFE_INTEGER) => (text: string): number => {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  throw new InvalidArgumentError(most === Number.MAX_SAFE_INTEGER ? `It must be a whole number from ${least}.` : `It must be a whole number from ${least} to ${most}.`)
}

function anyNumber (text: string): number {
  if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  throw new InvalidArgumentError('It must be a number.')
}

function sizeOf (text: string): { width: number, height: number } {
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(text) ?? []
  if (width === undefined || height === undefined) throw new InvalidArgumentError('It must be width x height, such as 512x768.')
  return { width: Number(width), height: Number(height) }
}

function seedOf (text: string): string {
  if (/^(-1|\d{1,20})$/.test(text)) return text
  throw new InvalidArgumentError('It must be a whole number, or -1 for a random one.')
}

function rateOf (text: string): number | null {
  return text === 'none' ? null : wholeNumber(1)(text)
}

/** Adds `name=value`, whose value is JSON or else a text. */
function setting (text: string, before: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must be name=value.')
  const value = text.slice(at + 1)
  try {
    return { ...before, [text.slice(0, at)]: JSON.parse(value) }
  } catch {
    return { ...before, [text.slice(0, at)]: value }
  }
}

const examples = `
Examples:
  stablequeue submit "a lighthouse" --steps 20 --open
  stablequeue list --status failed
  stablequeue retry --all --status failed
  stablequeue servers add Big http://192.168.1.10:7860

Commands for a running service use, in this order: the options --service, --key and --token; the environment
(STABLEQUEUE_URL, STABLEQUEUE_KEY, STABLEQUEUE_TOKEN); the file ~/.config/stablequeue/config.json with "service", "key"
or "token"; the settings of this folder. Settings come from the environment and from .env; see .env.example.
Exit codes: 0 done, 1 refused or not reached, 2 wrong usage, 3 the job failed, 4 the job was cancelled.
`

const groups = { service: 'On the machine of the service:', jobs: 'Jobs of a running service:', admin: 'Looking after a running service:' }

/** The command line. Commands that wrong usage reaches throw CommanderError or UsageError. */
export function createProgram ({ local, output, surroundings, end }: ProgramParts): Command {
  const program = new Command('stablequeue')
  program.version(version, '--version', 'the version')
    .description('One queue in front of any number of Stable Diffusion servers.')
    .helpOption('-h, --help', 'this help').helpCommand('help [command]', 'help for a command').addHelpText('after', examples)
    .showHelpAfterError()

  /** A command that ends with an exit code. */
  function command (parent: Command, usage: string, about: string): Command {
    return parent.command(usage).description(about).helpOption('-h, --help', 'this help').showHelpAfterError()
  }
  const group = (name: string, about: string) =>
    command(program, name, about).helpGroup(groups.admin).helpCommand(false)

  function machineCommand (usage: string, about: string): Command {
    return command(program, usage, about).helpGroup(groups.service)
  }
  /** One that talks to a running service. */
  function serviceCommand (parent: Command, usage: string, about: string): Command {
    return command(parent, usage, about).helpGroup(groups.jobs)
      .option('--service, --url <url>', 'address of the service')
      .option('--key <key:secret>', 'access key and its secret')
      .option('--token <token>', 'admin token')
      .option('--json', 'print JSON')
  }
  /** Runs an action with the service of its options. */
  function withService<Values> (action: (service: Service, values: Values, parameters: string[]) => Promise<number>) {
    return async (...given: unknown[]): Promise<void> => {
      const own = given.at(-1) as Command
      const { url, key, token, ...values } = own.opts()
      const service = connectService(findService({ service: url, key, token }, surroundings))
      end(await action(service, values as Values, own.processedArgs.flat().filter(word => word !== undefined)))
    }
  }

  for (const [kind, about] of [
    ['start', 'everything in one process, with a private Redis'],
    ['api', 'only the HTTP service, on REDIS_URL'],
    ['worker', 'only the workers, on REDIS_URL']
  ] as const) {
    machineCommand(kind, about)
      .option('--a1111-url <url>', 'address of a server, as the setting A1111_URL')
      .option('--host <host>', 'address to listen on')
      .option('--port <number>', 'port to listen on')
      .option('--adopt-data-dir', 'the media are here from now on: yes, once (docs/operating.md)')
      .action(async (options: ServeOptions) => { await local.serve(kind, options) })
  }
  machineCommand('simulator', 'a server that behaves like A1111, without a GPU; see simulator --help')
    .helpOption(false).allowUnknownOption().allowExcessArguments()
    .action(async (_options, own: Command) => { await local.simulate(own.args) })
  machineCommand('doctor', 'checks the installation, or how a server behaves (docs/doctor.md)')
    .option('--thorough', 'check how a server behaves')
    .option('--server <alias|url>', 'the server')
    .option('--checkpoint <title>', 'a second checkpoint to change to')
    .option('--minutes <number>', 'the longest time')
    .option('--service <url>', 'address of the running service')
    .option('--key <key:secret>', 'access key and its secret')
    .option('--token <token>', 'admin token')
    .option('--json', 'print JSON')
    .action(async (options: DoctorOptions) => { end(await local.doctor(options)) })
  const media = machineCommand('media', 'where images are kept').helpCommand(false)
  command(media, 'copy', 'copies all media between DATA_DIR and the bucket of MEDIA_URL')
    .addOption(new Option('--to <where>', 'the target').choices(['s3', 'folder']).default('s3'))
    .option('--verify', 'compare what is there already')
    .action(async (options: { to: 's3' | 'folder', verify?: boolean }) => { end(await local.copyMedia(options)) })

  serviceCommand(program, 'submit <prompt>', 'submits a job and waits for its images; "-" reads the prompt from standard input')
    .option('-s, --server <alias>', 'the server; the first free one by default')
    .option('-n, --negative <text>', 'negative prompt')
    .option('--steps <number>', 'sampling steps', wholeNumber(1))
    .option('--size <width>x<height>', 'size in pixels', sizeOf)
    .option('--cfg <number>', 'CFG scale', anyNumber)
    .option('--sampler <name>', 'sampler')
    .option('--seed <number>', 'seed; -1 for a random one', seedOf)
    .option('--model <name>', 'checkpoint')
    .option('--count <number>', 'images, one after another', wholeNumber(1))
    .option('--priority <number>', 'weight in the queue, 1 to 10', wholeNumber(1, 10))
    .option('--background', 'run it only when no other job waits for the server')
    .option('--no-background', 'run it as usual, if the jobs of the access key go to the background')
    .option('--image <file>', 'picture to start from')
    .option('--mask <file>', 'its white part is generated again')
    .option('--denoising <number>', 'how much changes, 0 to 1', anyNumber)
    .option('--set <name=value>', 'any other parameter; repeatable', setting)
    .option('--idempotency-key <text>', 'a repeated call with it makes no second job')
    .option('-o, --output <path>', 'folder or file for the images; without it, their addresses are printed')
    .option('--open', 'show the images')
    .option('--no-wait', 'print the id of the job at once')
    .option('--dry-run', 'only check it')
    .action(withService<Parameters<typeof submit>[2]>(async (service, values, [prompt = '']) => await submit(service, prompt, values, output)))
  serviceCommand(program, 'watch [job...]', 'follows jobs until they end; without jobs, everything that happens')
    .action(withService<{ json?: boolean }>(async (service, values, ids) =>
      await watchJobs(service, ids, values, output)))
  filtered(serviceCommand(program, 'list', 'lists jobs, the newest first'))
    .option('--limit <number>', 'jobs at most', wholeNumber(1), 50)
    .action(withService<Parameters<typeof listJobs>[1]>(async (service, values) =>
      await listJobs(service, values, output)))
  for (const [action, about] of [['cancel', 'cancels jobs'], ['retry', 'queues failed or cancelled jobs again']] as const) {
    filtered(serviceCommand(program, `${action} [job...]`, about))
      .option('--all', 'all jobs that match, rather than named ones')
      .option('-y, --yes', 'do not ask')
      .action(withService<Parameters<typeof actOnJobs>[3]>(async (service, values, ids) =>
        await actOnJobs(service, action, ids, values, output)))
  }
  serviceCommand(program, 'logs <job>', 'tells what happened to a job')
    .option('-f, --follow', 'go on until it ends')
    .action(withService<Parameters<typeof jobLogs>[2]>(async (service, values, [id = '']) => await jobLogs(service, id, values, output)))

  const servers = group('servers', 'servers of the service')
  serviceCommand(servers, 'list', 'lists the servers')
    .action(withService<Parameters<typeof listServers>[1]>(async (service, values) =>
      await listServers(service, values, output)))
  serviceCommand(servers, 'add <alias> <address>', 'adds a server')
    .option('--username <name>', 'its user name (--api-auth)')
    .option('--password <text>', 'its password')
    .option('--bearer <token>', 'its bearer token')
    .option('--description <text>', 'for people')
    .action(withService<Parameters<typeof addServer>[3]>(async (service, values, [alias = '', url = '']) =>
      await addServer(service, alias, url, values, output)))
  for (const [action, about] of [
    ['pause', 'lets a server begin no more jobs'], ['resume', 'lets it take jobs again'], ['drain', 'empties it, so that it can be removed']
  ] as const) {
    const one = serviceCommand(servers, `${action} <alias>`, about)
    if (action === 'pause') one.option('--reason <text>', 'for people who see its queue wait')
    one.action(withService<Parameters<typeof changeServer>[3]>(async (service, values, [alias = '']) =>
      await changeServer(service, action, alias, values, output)))
  }
  serviceCommand(servers, 'remove <alias>', 'removes a server')
    .addOption(new Option('--cancel-jobs', 'cancel the jobs that it has').conflicts('moveTo'))
    .option('--move-to <alias>', 'give its jobs to this server, or to any with auto')
    .action(withService<Parameters<typeof removeServer>[2]>(async (service, values, [alias = '']) => await removeServer(service, alias, values, output)))

  serviceCommand(program, 'models', 'lists models').helpGroup(groups.admin)
    .option('--type <type>', 'checkpoint, lora, vae, embedding, upscaler, controlnet, other or all')
    .option('--server <alias>', 'only those that this server has')
    .option('--search <text>', 'words out of name, file, tags or description')
    .option('--limit <number>', 'models at most', wholeNumber(1, 10_000), 1000)
    .action(withService<Parameters<typeof listModels>[1]>(async (service, values) =>
      await listModels(service, values, output)))

  const keys = group('keys', 'access keys, of a named service or of this machine')
  /** With the keys of the service that is named, or else in the Redis of this installation. */
  function withKeys<Values> (action: (keys: KeyStore, values: Values, parameters: string[]) => Promise<number>) {
    return async (...given: unknown[]): Promise<void> => {
      const own = given.at(-1) as Command
      const { url, key, token, ...values } = own.opts()
      const options: ServiceOptions = { service: url, key, token }
      const run = async (store: KeyStore) => await action(store, values as Values, own.processedArgs as string[])
      end(namesService(options, surroundings)
        ? await run(keysOf(connectService(findService(options, surroundings))))
        : await local.withKeys(run))
    }
  }
  serviceCommand(keys, 'create', 'makes a key and shows its secret once')
    .requiredOption('--name <name>', 'what people call it')
    .option('--scopes <a,b|*>', 'its rights', text => text.split(',').map(word => word.trim()))
    .option('--description <text>', 'what it is for')
    .option('--rate <number|none>', 'requests a minute', rateOf)
    .option('--background', 'run its jobs in the background unless they say otherwise')
    .action(withKeys<Parameters<typeof createKey>[1]>(async (store, values) => await createKey(store, values, output)))
  serviceCommand(keys, 'list', 'lists the keys')
    .action(withKeys<Parameters<typeof listKeys>[1]>(async (store, values) => await listKeys(store, values, output)))
  serviceCommand(keys, 'revoke <id|key>', 'removes a key')
    .action(withKeys<Parameters<typeof revokeKey>[2]>(async (store, values, [subject = '']) => await revokeKey(store, subject, values, output)))

  command(program, 'completion <shell>', 'prints the completion for bash or zsh').helpGroup(groups.admin)
    .action((shell: string) => {
      const known = shells.find(name => name === shell)
      if (known === undefined) throw new UsageError(`There is completion for ${shells.join(' and ')}.`)
      output.out(completionScript(program, known))
      end(0)
    })
  prepare(program, output)
  return program
}

function filtered (command: Command): Command {
  return command
    .addOption(new Option('--status <status>', 'only jobs in this state').choices(statuses))
    .option('--server <alias>', 'only jobs of this server')
    .option('--search <text>', 'only jobs whose prompt contains this')
}

/** Characters of a line of help. */
const helpWidth = 100

/** Every command throws in place of ending the process, and writes to the output. */
function prepare (command: Command, output: Output): void {
  command.exitOverride().configureOutput({
    writeOut: output.out, writeErr: output.note, getErrHelpWidth: () => helpWidth, getOutHelpWidth: () => helpWidth
  })
  for (const one of command.commands) prepare(one, output)
}

/**
 * Runs a command line.
 * @param argv without node and script
 * @returns the exit code; null while the process lives on
 */
export async function runCommand (argv: readonly string[], parts: Omit<ProgramParts, 'end'>): Promise<number | null> {
  let code: number | null = null
  const program = createProgram({ ...parts, end: ended => { code = ended } })
  try {
    await program.parseAsync(argv.length === 0 ? ['--help'] : [...argv], { from: 'user' })
    return code
  } catch (error) {
    const exitCode = Reflect.get(error as object, 'exitCode') as unknown
    // commander has written its message and the usage.
    if (typeof exitCode === 'number') return exitCode === 0 ? 0 : 2
    parts.output.note(`${messageOf(error)}\n`)
    if (!(error instanceof UsageError)) return 1
    parts.output.note(`\n${usageOf(program, argv)}`)
    return 2
  }
}

/** The usage of the command that an invalid command line names. */
function usageOf (program: Command, argv: readonly string[]): string {
  let named = program
  for (const word of argv) {
    const found = named.commands.find(one => one.name() === word)
    if (found === undefined) break
    named = found
  }
  return `Usage: ${named.createHelp().commandUsage(named)}\n`
}
