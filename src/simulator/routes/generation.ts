import { applyInfotext, tripOverStyles } from '../../a1111/pasted-parameters.ts'
import { generationModel, type GenerationRequest, type Mode } from '../../a1111/request-model.ts'
import { ProcessDied } from '../../fastapi/errors.ts'
import { type Fault, readFaultText, type StruckFaults } from '../faults/faults.ts'
import { crashBy, strikeOnArrival } from '../faults/strike.ts'
import { type AnswerShape, writeAnswer } from '../generation/answer.ts'
import { generate, type Generation } from '../generation/generate.ts'
import type { ServerProcess } from '../server-process.ts'
import { wait } from '../timing.ts'
import { type Answer, createAnswer, post, proxyPage, type Route, type RouteInput } from './route.ts'

/** POST /sdapi/v1/txt2img and /img2img. */
export function generationRoutes (server: ServerProcess): Route[] {
  const { flavor, family } = server.machine.settings
  const model = flavor === 'sdnext' ? 'sdnext' : family === 'forge' ? 'forge' : 'a1111'
  return (['txt2img', 'img2img'] as const).map(mode => post(
    `/sdapi/v1/${mode}`,
    async input => await answerGeneration(server, mode, input),
    { body: generationModel(mode, model) }
  ))
}

/** Answers one generation request; `shape` says how the flavour words its answer. */
export async function answerGeneration (
  server: ServerProcess, mode: Mode, input: RouteInput, shape: AnswerShape = {}
): Promise<Answer> {
  const { machine } = server
  const sent = typeof input.json === 'object' && input.json !== null ? Object.keys(input.json) : []
  const given = input.body as unknown as GenerationRequest
  if (machine.settings.family === 'forge') tripOverStyles(given, sent)
  const request = applyInfotext(given, sent, server.options)
  const header = input.headers['x-simulator-fault']
  const faults = machine.faults.draw(request.prompt ?? '', readFaultText(typeof header === 'string' ? header : undefined))
  machine.records.countSend(request.force_task_id)
  strikeOnArrival(server, faults)
  const away = faults.get('proxy-away')
  if (away !== undefined) machine.faults.goAway(away.count ?? 5)
  const page = pageInPlace(faults)
  if (page !== null) return page
  const made = makeAnswer(server, mode, request, { faults, shape })
  const impatient = faults.get('gateway-timeout') ?? faults.get('connection-cut')
  if (impatient === undefined) return await made
  // the job goes on behind the proxy, and nobody hears of its end
  made.catch(() => undefined)
  const late = giveUp(server, impatient)
  return (impatient.afterMilliseconds ?? 0) === 0 ? await late : await Promise.race([made, late])
}

/** What something in front of the server answers without asking it; null where nothing does. */
function pageInPlace (faults: StruckFaults): Answer | null {
  if (faults.has('bad-gateway') || faults.has('proxy-away')) return proxyPage(502)
  const forbidden = faults.get('forbidden')
  if (forbidden !== undefined) return proxyPage(forbidden.status ?? 403)
  const redirect = faults.get('login-redirect')
  if (redirect !== undefined) return proxyPage(redirect.status ?? 302, { location: '/login?next=/' })
  return faults.has('html-answer') ? proxyPage(200) : null
}

/** Rejects as where a process dies: nobody gets an answer on that connection. */
async function giveUp (server: ServerProcess, { kind, afterMilliseconds, status }: Fault): Promise<Answer> {
  await wait(afterMilliseconds ?? 0, server.life)
  if (kind === 'connection-cut') throw new ProcessDied()
  return proxyPage(status ?? 504)
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
    return await generate(server, request, mode, faults)
  } finally {
    records.leave()
  }
}
