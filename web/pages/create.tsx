import type { Route } from '../lib/router.ts'
import type { Sweep } from '../lib/sweep.ts'
import type { CreateForm } from '../lib/generation.ts'
import type { TargetedEvent } from 'preact'
import type { JobAccepted, Parameters, Server } from '../lib/api-types.ts'
import { useForm } from '../lib/form.ts'
import { emptyForm, requestOf } from '../lib/generation.ts'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { keepDraft, readDraft, readDraftImages, removeDraftImages, type Draft } from '../lib/draft.ts'
import { fileOfOutput, sizeOf } from '../lib/images.ts'
import { isEnlarging } from '../lib/inputs.ts'
import { endIntent, intentOf } from '../lib/intent.ts'
import { useCaller, useServers } from '../lib/caller.ts'
import { readChoices, serversThatCount } from '../lib/inventory.ts'
import { aboutServers, seldom, useLive } from '../lib/live.ts'
import { complain, say } from '../lib/messages.ts'
import { withOtherLora } from '../lib/prompt-loras.ts'
import { setQuery } from '../lib/router.ts'
import { jobs } from '../lib/service.ts'
import { applied, combinationsOf, labelOf, mostJobs, sharedSeed } from '../lib/sweep.ts'
import { formOf, formWith, imagesOf } from '../lib/taken-over.ts'
import { FormProblem, TextArea } from '../parts/field.tsx'
import { FurtherParameters } from '../parts/further-parameters.tsx'
import { HiresFields, ModelFields, PictureFields, SamplingFields, StartFields } from '../parts/generation-fields.tsx'
import { Icon } from '../parts/icon.tsx'
import { LoraSliders } from '../parts/lora-sliders.tsx'
import { PageHead } from '../parts/page-head.tsx'
import { Results, type Submitted } from '../parts/results.tsx'
import { SweepFields } from '../parts/sweep-fields.tsx'
import { parameterTaker, TakeParameters } from '../parts/take-parameters.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/create.ts'

/** The jobs submitted in this sitting, newest first; they stay while the user visits other pages. */
let sitting: Submitted[] = []
const mostResults = 60

const modes: Readonly<Record<CreateForm['mode'], string>> = { txt2img: t.textToImage, img2img: t.imageToImage }

/** Submits jobs and shows their results. */
export function CreatePage ({ route }: { route: Route }) {
  const { limits: { background } } = useCaller()
  const empty = { ...emptyForm, background }
  const draft = useMemo(() => readDraft(empty), [])
  const form = useForm(draft.form)
  const [sweeps, setSweeps] = useState<Sweep[]>(draft.sweeps)
  const [discarded, setDiscarded] = useState<Draft | null>(null)
  const [submitted, setSubmitted] = useState(sitting)
  const result = useRef<HTMLElement>(null)
  const known = useServers({ interval: seldom, about: aboutServers })
  const alias = form.values.target_server_alias
  const isThere = known.data !== undefined
  const choices = useLive(signal => readChoices(known.data ?? [], alias, signal), [alias, isThere],
    { interval: seldom, about: aboutServers })
  const combinations = combinationsOf(sweeps)

  useEffect(() => { keepDraft({ form: form.values, sweeps }) }, [form.values, sweeps])
  const from = route.query.get('from')
  const start = route.query.get('start')
  useEffect(() => {
    const isUntouched = (before: CreateForm) => before.init_images === null && before.mask === null
    if (from !== null || start !== null) return removeDraftImages()
    readDraftImages().then(images => {
      if (images !== null) form.setValues(before => isUntouched(before) ? { ...before, ...images } : before)
    }, () => {})
  }, [])
  useEffect(() => {
    takeOver(from, start).catch(complain)
    form.setValues(before => ({ ...before, ...valuesFromQuery(route.query, before.prompt) }))
    // The address sets it once; later changes stay when the user comes back to the page.
    if (route.query.size > 0) setQuery(route, Object.fromEntries([...route.query.keys()].map(name => [name, ''])))
  }, [])

  /** The parameters of a job, and the images of it or, to start from, one of its results. */
  async function takeOver (id: string | null, result: string | null) {
    if (id !== null) {
      const job = await jobs.read(id)
      if (!isEnlarging(job)) form.setValues(formOf(job))
      else if (result === null) throw new Error(t.upscaleNotPossible)
      if (result === null) {
        const images = await imagesOf(job)
        form.setValues(before => ({ ...before, ...images }))
      }
    }
    if (result === null) return
    const file = await fileOfOutput(result)
    const size = await sizeOf(file)
    form.setValues(before => ({
      ...before,
      mode: 'img2img',
      init_images: file,
      mask: null,
      enable_hr: false,
      width: String(size.width),
      height: String(size.height)
    }))
  }

  async function send (values: CreateForm) {
    if (combinations.length > mostJobs) throw new Error(t.jobsAreTooMany(combinations.length))
    const intent = intentOf({ form: values, sweeps }, sharedSeed(values))
    const base = sweeps.length > 0 ? { ...values, seed: intent.seed } : values
    const group = combinations.length < 2 ? {} : { group: intent.group }
    let last: JobAccepted | undefined
    for (const [index, combination] of combinations.entries()) {
      const request = { ...await requestOf(applied(base, combination, sweeps)), ...group }
      last = await jobs.submit(request, `${intent.key}-${index}`)
      const entry = { id: last.id, label: labelOf(combination) }
      // A repeat also sends those that were accepted before, and gets the same jobs.
      sitting = [entry, ...sitting.filter(({ id }) => id !== entry.id)].slice(0, mostResults)
      setSubmitted(sitting)
    }
    endIntent()
    // On a phone the result is far below the button.
    result.current?.scrollIntoView({ block: 'nearest', behavior: 'smooth' })
    if (last === undefined) return
    say(combinations.length > 1
      ? t.jobsAreInQueue(combinations.length)
      : last.target_server_alias === 'default'
        ? t.jobIsAt(last.queue_position)
        : t.jobIsAtOf({ queuePosition: last.queue_position, targetServerAlias: last.target_server_alias }))
  }

  function onKeyDown (event: TargetedEvent<HTMLFormElement, KeyboardEvent>) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit()
  }

  function startOver () {
    // A second click must not replace the draft by the empty form.
    if (sweeps.length > 0 || changes(empty, form.values)) setDiscarded({ form: form.values, sweeps })
    form.setValues(empty)
    setSweeps([])
  }

  function undo ({ form: values, sweeps: before }: Draft) {
    form.setValues(values)
    setSweeps(before)
    setDiscarded(null)
  }

  const taker = parameterTaker(parameters => form.setValues(before => takenOver(before, parameters)))

  const prompt = form.field('prompt')
  const isFromImage = form.values.mode === 'img2img'
  const count = combinations.length
  return (
    <>
      <PageHead title={common.create}>
        <TakeParameters
          taker={taker}
          onImage={form.values.mode === 'img2img' ? image => form.setValues(before => ({ ...before, init_images: image })) : null}
        />
      </PageHead>
      <div class='create'>
        <form ref={form.element} noValidate onKeyDown={onKeyDown} onSubmit={event => form.submit(event, send)}>
          <FormProblem problem={form.problems['']} />
          <div class='tabs' role='group' aria-label={t.startFrom}>
            {(['txt2img', 'img2img'] as const).map(mode => (
              <button
                key={mode} type='button' class='tab' aria-pressed={form.values.mode === mode ? 'true' : 'false'}
                onClick={() => form.setValues({ ...form.values, mode })}
              >{modes[mode]}
              </button>
            ))}
          </div>
          <section class='form-section' aria-label={t.prompts}>
            <TextArea
              label={common.prompt} wide rows={4} {...prompt}
              onNearest={(name, wrong) => prompt.onValue(withOtherLora(prompt.value, wrong, name))}
            />
            <LoraSliders prompt={prompt.value} server={alias} onPrompt={prompt.onValue} />
            <TextArea label={common.negativePrompt} wide rows={2} {...form.field('negative_prompt')} />
          </section>
          {isFromImage && <StartFields form={form} onTake={taker.takeImage} />}
          <ModelFields form={form} servers={known.data ?? []} choices={choices.data} />
          <SamplingFields form={form} choices={choices.data} />
          <PictureFields form={form} />
          {!isFromImage && <HiresFields form={form} choices={choices.data} />}
          <FurtherParameters
            further={form.values.further}
            onLeaveOut={() => form.setValues({ ...form.values, further: null })}
          />
          <SweepFields sweeps={sweeps} onSweeps={setSweeps} count={count} />
          <div class='submit'>
            <ServerNotice servers={known.data ?? []} alias={alias} onServer={form.field('target_server_alias').onValue} />
            <div class='actions'>
              <button class='button primary' disabled={form.busy || count > mostJobs} title={common.ctrlEnter}>
                <Icon name='play' />{form.busy ? t.submitting : count > 1 ? t.submitJobs(count) : t.submitJob}
              </button>
              <button type='button' class='button quiet' onClick={startOver}>{t.startOver}</button>
              {discarded !== null && <button type='button' class='button quiet' onClick={() => undo(discarded)}>{t.undo}</button>}
            </div>
          </div>
        </form>
        <section class='result' aria-label={t.result} ref={result}><Results submitted={submitted} /></section>
      </div>
    </>
  )
}

const changes = (empty: CreateForm, form: CreateForm) =>
  (Object.keys(empty) as Array<keyof CreateForm>).some(name => form[name] !== empty[name])

/** Parameters of an image in the form; server and input images stay as they were. */
function takenOver (before: CreateForm, parameters: Parameters) {
  const { init_images: start, mask, mode, target_server_alias: alias, priority, background } = before
  return { ...formWith(parameters), init_images: start, mask, mode, target_server_alias: alias, priority, background }
}

/** Values that another page sends, under the API's names; `prompt` is appended to the prompt. */
function valuesFromQuery (query: URLSearchParams, prompt: string): Partial<CreateForm> {
  const isText = (name: string) => typeof Reflect.get(emptyForm, name) === 'string'
  const values: Record<string, string> = Object.fromEntries([...query].filter(([name]) => isText(name)))
  if (values.prompt !== undefined) values.prompt = [prompt.trim(), values.prompt].filter(Boolean).join(', ')
  return values
}

/** Says that a job would wait for a server that is not available, and offers the others. */
function ServerNotice ({ servers: known, alias, onServer }: {
  servers: readonly Server[]
  alias: string
  onServer: (alias: string) => void
}) {
  const chosen = known.find(server => server.alias === alias)
  const others = known.filter(server => server.alias !== alias && stateOf(server) === '')
  const isAnyAvailable = serversThatCount(known).some(server => stateOf(server) === '')
  const state = chosen === undefined ? '' : stateOf(chosen)
  if (chosen === undefined && (known.length === 0 || isAnyAvailable)) return null
  if (chosen !== undefined && state === '') return null
  return (
    <div class='notice warning-notice' role='status'>
      <p>{chosen === undefined ? t.noServerAvailable : t.jobWaitsForIt({ alias, state })}</p>
      {chosen !== undefined && others.length > 0 && (
        <div class='actions'>
          {isAnyAvailable && <button type='button' class='button' onClick={() => onServer('')}>{t.useAnyAvailableServer}</button>}
          {others.slice(0, 3).map(other => (
            <button key={other.alias} type='button' class='button quiet' onClick={() => onServer(other.alias)}>{t.useAlias(other.alias)}</button>
          ))}
        </div>
      )}
    </div>
  )
}

/** Why a server starts no job at the moment, as the rest of a sentence; empty if it does. */
function stateOf ({ enabled, paused, health, last_answer_at: answered }: Server) {
  if (!enabled) return t.isDisabled
  if (paused) return t.isPaused
  if (answered === null && health === 'offline') return t.hasNotAnsweredYet
  return health === 'offline' || health === 'unauthorized' ? t.isOffline : ''
}
