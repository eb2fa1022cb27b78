import t from 'tap'
import { readCandidates } from '../../src/servers/choose.ts'
import type { Server, ServerState } from '../../src/servers/registry.ts'

const servers = [
  { id: 'plain', alias: 'Plain', enabled: true, paused: false, origin: 'api', createdAt: 1 },
  { id: 'forge', alias: 'Forge', enabled: true, paused: false, origin: 'api', createdAt: 2 }
] as unknown as Server[]
const stateOf = (kind: string) => ({ reachable: 'yes', traits: { kind } }) as unknown as ServerState
const states = { readMany: async (ids: readonly string[]) => ids.map(id => stateOf(id === 'plain' ? 'a1111' : 'forge')) }
const order = async (checkpoint: string | null) =>
  (await readCandidates(servers, states as never, async id => id === 'plain' ? 0 : 5, checkpoint)).map(({ server }) => server.id)

t.test('a checkpoint goes to a server that can load its kind, before the shortest queue counts', async t => {
  for (const name of [null, 'dreamscape.safetensors', 'SDXL/sd_xl_base_1.0.safetensors [31e35c80fc]', 'ponyDiffusionV6XL']) {
    t.strictSame(await order(name), ['plain', 'forge'], String(name))
  }
  for (const name of ['flux1-dev-fp8.safetensors', 'Flux\\flux1-schnell-Q4.gguf', 'qwen_image_fp8.safetensors', 'chroma-v48.safetensors', 'z_image_turbo_bf16']) {
    t.strictSame(await order(name), ['forge', 'plain'], name)
  }
})
