import { readFaultText, type StruckFaults } from '../faults/faults.ts'
import { crashBy, strikeOnArrival } from '../faults/strike.ts'
import { ProcessDied } from '../failures.ts'
import { writeAnswer, type AnswerShape } from '../generation/answer.ts'
import { generate, type Generation } from '../generation/generate.ts'
import { applyInfotext } from '../generation/infotext-fields.ts'
import { generationModel, type GenerationRequest, type Mode } from '../generation/request.ts'
import { wait } from '../pace.ts'
import type { ServerProcess } from '../server-process.ts'
import { proxyPage } from '../wire/proxy-page.ts'
import { createAnswer, post, type Answer, type Route, type RouteInput } from './route.ts'

/** POST /sdapi/v1/txt2img and /img2img. */
export function generationRoutes (server: ServerProcess): Route[] {
  const flavor = server.machine.settings.flavor === 'forge' ? 'forge' : 'a1111'
  return (['txt2img', 'img2img'] as const).map(mode => post(
    `/sdapi/v1/${mode}`,
    async input => await answerGeneration(server, mode, input),
    { body: generationModel(mode, flavor) }
  ))
}

/** Answers one generation request; `shape` says how the flavour words its answer. */
export async function answerGeneration (
  server: ServerProcess, mode: Mode, input: RouteInput, shape: AnswerShape = {}
): Promise<Answer> {
  const { machine } = server
  const request = input.body as unknown as GenerationRequest
  const header = input.headers['x-simulator-fault']
  const faults = machine.faults.draw(request.prompt ?? '', readFaultText(typeof header === 'string' ? header : undefined))
  strikeOnArrival(server, faults)
  if (faults.has('bad-gateway')) return proxyPage(502)
  const timeout = faults.get('gateway-timeout')
  if (timeout === undefined) return await makeAnswer(server, mode, request, { faults, shape })
  // the job goes on behind the proxy, and nobody hears of its end
  makeAnswer(server, mode, request, { faults, shape }).catch(() => undefined)
  await wait(timeout.afterMilliseconds ?? 0, server.life)
  return proxyPage(504)
}

async function makeAnswer (
  server: ServerProcess, mode: Mode, request: GenerationRequest,
  how: { readonly faults: StruckFaults, readonly shape: AnswerShape }
): Promise<Answer> {
  const { faults, shape } = how
  const generation = await takeUp(server, request, mode, faults)
  const json = await writeAnswer(server, request, generation, { faults, ...shape })
  crashBy(server, faults.get('crash-after'))
  if (server.life.aborted) throw new ProcessDied()
  const body = faults.has('truncated-json') ? json.subarray(0, Math.floor(json.length / 2)) : json
  return createAnswer(200, 'application/json', body, faults.has('cut-body') ? 'cut' : 'whole')
}

/** What counts as under way ends with the generation: from then on the server says that the task is over. */
async function takeUp (
  server: ServerProcess, request: GenerationRequest, mode: Mode, faults: StruckFaults
): Promise<Generation> {
  const { records } = server.machine
  records.enter()
  try {
    return await generate(server, applyInfotext(request), mode, faults)
  } finally {
    records.leave()
  }
}
