import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { createClient, type Client, type Kind } from './client.ts'

/**
 * A bot like those on Discord, with the terminal in place of a channel. Each line is a command of a user:
 *
 *     @ann /lora film-grain 0.6
 *     @ann /dream a lighthouse at dusk
 *     @bob /regional vertical | a snowy plain | a wolf | a hare
 *
 * With Discord's library in place of `say` and `handle`, it is one.
 */
export interface BotOptions {
  readonly client: Client
  /** Shows a message in the channel. */
  readonly say: (message: string) => void
  /** Folder for images. */
  readonly folder: string
}

export const help = [
  '/dream PROMPT                        generate an image',
  '/redream FILE PROMPT                 generate from an image',
  '/regional LAYOUT | COMMON | ONE | TWO | ...   vertical, horizontal, three_columns, four_columns or quadrants',
  '/lora NAME WEIGHT                    remember a LoRA for you',
  '/loras TEXT                          find LoRAs',
  '/lora-current, /lora-clear           show or clear your LoRAs',
  '/cancel                              cancel your job'
].join('\n')

/** The bot: pass it lines, then wait for `idle` to see the last image. */
export function createBot ({ client, say, folder }: BotOptions) {
  /** The job that each user waits for. */
  const jobs = new Map<string, string>()
  const running = new Set<Promise<void>>()

  async function generate (user: string, kind: Kind, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const id = await client.generate(kind, { user_id: user, ...fields })
    jobs.set(user, id)
    const done = show(user, id).catch((error: unknown) => { say(`@${user} ${String(error)}`) })
      .finally(() => { running.delete(done) })
    running.add(done)
  }

  async function show (user: string, id: string): Promise<void> {
    const { images, error, warnings } = await client.wait(id, ({ status, message, progress }) => {
      say(`@${user} ${status}, ${Math.round(progress * 100)} %: ${message}`)
    })
    for (const { message } of warnings) say(`@${user} Note: ${message}`)
    if (error !== null) return
    await mkdir(folder, { recursive: true })
    for (const [index, image] of images.entries()) {
      const file = join(folder, `${id}-${index}.png`)
      await writeFile(file, Buffer.from(image, 'base64'))
      say(`@${user} ${file}`)
    }
  }

  const commands: Readonly<Record<string, (user: string, text: string) => Promise<void>>> = {
    async help () { say(help) },
    async dream (user, prompt) { await generate(user, 'txt2img', { prompt }) },
    async redream (user, text) {
      const [file = '', ...words] = text.split(' ')
      await generate(user, 'img2img', { prompt: words.join(' '), image: (await readFile(file)).toString('base64') })
    },
    async regional (user, text) {
      const [layout, common = '', ...regions] = text.split('|').map(part => part.trim())
      const prompts = regions.map((prompt, index) => [`region${index + 1}_prompt`, prompt] as const)
      await generate(user, 'regional', {
        prompt: '', regional_config: { layout, common_prompt: common, ...Object.fromEntries(prompts) }
      })
    },
    async lora (user, text) {
      const [name = '', weight = '0.8'] = text.split(' ')
      const [choice] = await client.completeLora(name)
      if (choice === undefined) return say(`@${user} No LoRA is called ${name}.`)
      await client.addLora(user, choice.value, Number(weight))
      say(`@${user} ${choice.name} from now on, with weight ${weight}.`)
    },
    async loras (user, text) {
      const choices = await client.completeLora(text)
      say(choices.length === 0 ? `@${user} There is none.` : choices.map(({ name, value }) => `${name} (${value})`).join('\n'))
    },
    async 'lora-current' (user) {
      const loras = Object.entries((await client.session(user)).active_loras)
      say(`@${user} ${loras.map(([name, weight]) => `${name} ${weight}`).join(', ') || 'No LoRA.'}`)
    },
    async 'lora-clear' (user) {
      await client.clearLoras(user)
      say(`@${user} All cleared.`)
    },
    async cancel (user) {
      const id = jobs.get(user)
      if (id !== undefined) await client.cancel(id)
    }
  }

  return {
    /** One line of the channel: `@user /command text`. */
    async handle (line: string): Promise<void> {
      const [, user = 'you', name = '', text = ''] = /^(?:@(\S+)\s+)?\/(\S+)\s*(.*)$/.exec(line.trim()) ?? []
      const command = Object.hasOwn(commands, name) ? commands[name] : undefined
      if (command === undefined) return say(line.trim() === '' ? '' : `Try one of these:\n${help}`)
      await command(user, text).catch((error: unknown) => { say(`@${user} ${error instanceof Error ? error.message : String(error)}`) })
    },
    /** Resolves when no job is running. */
    async idle (): Promise<void> {
      while (running.size > 0) await Promise.all(running)
    }
  }
}

/** `node dist/examples/bot.js [URL [FOLDER]]`, with a key in STABLEQUEUE_KEY and STABLEQUEUE_SECRET where needed. */
async function main ([url = 'http://127.0.0.1:3000', folder = 'pictures']: readonly string[]): Promise<void> {
  const { STABLEQUEUE_KEY: key = '', STABLEQUEUE_SECRET: secret = '' } = process.env
  const bot = createBot({ client: createClient({ url, key, secret }), say: console.log, folder })
  console.log(help)
  for await (const line of createInterface({ input: process.stdin })) await bot.handle(line)
  await bot.idle()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2))
