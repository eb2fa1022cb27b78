import type { Job, JobPatch, ListedJob } from '../lib/api-types.ts'
import type { Form } from '../lib/form.ts'
import type { CreateForm } from '../lib/generation.ts'
import { useForm } from '../lib/form.ts'
import { changedParameters } from '../lib/generation.ts'
import { readChoices, type Offered } from '../lib/inventory.ts'
import { useServers } from '../lib/caller.ts'
import { useLive } from '../lib/live.ts'
import { say } from '../lib/messages.ts'
import { withOtherLora } from '../lib/prompt-loras.ts'
import { jobs } from '../lib/service.ts'
import { formOf } from '../lib/taken-over.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, TextArea } from './field.tsx'
import { HiresFields, ModelFields, PictureFields, SamplingFields, StartOptions } from './generation-fields.tsx'
import { Loading } from './page-head.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/create.ts'

/** Changes what a waiting job generates, its priority and its server; it keeps its place and its input images. */
export function EditJob ({ id, onClose, onChanged }: Pick<ListedJob, 'id'> & { onClose: () => void, onChanged: () => void }) {
  const { data: job, error } = useLive(signal => jobs.read(id, signal), [id], { interval: null })
  return (
    <Dialog title={t.changeThisJob} onClose={onClose} wide>
      {job === undefined ? <Loading error={error} /> : <EditForm job={job} onClose={onClose} onChanged={onChanged} />}
    </Dialog>
  )
}

function EditForm ({ job, onClose, onChanged }: { job: Job, onClose: () => void, onChanged: () => void }) {
  const before = formOf(job)
  const form: Form<CreateForm> = useForm(before)
  const alias = form.values.target_server_alias
  const known = useServers({ interval: null })
  const choices = useLive<Offered | undefined>(
    async signal => known.data && await readChoices(known.data, alias, signal), [known.data, alias], { interval: null })
  const prompt = form.field('prompt')

  async function send (values: CreateForm) {
    const changes = patchOf(before, values)
    if (Object.keys(changes).length > 0) {
      await jobs.change(job.id, changes)
      say(t.jobWasChanged)
      onChanged()
    }
    onClose()
  }

  return (
    <form ref={form.element} noValidate class='stack' onSubmit={event => form.submit(event, send)}>
      <FormProblem problem={form.problems['']} />
      <TextArea
        label={common.prompt} wide rows={3} {...prompt}
        onNearest={(name, wrong) => prompt.onValue(withOtherLora(prompt.value, wrong, name))}
      />
      <TextArea label={common.negativePrompt} wide rows={2} {...form.field('negative_prompt')} />
      <ModelFields form={form} servers={known.data ?? []} choices={choices.data} />
      <SamplingFields form={form} choices={choices.data} />
      <PictureFields form={form} />
      {before.mode === 'img2img'
        ? <StartOptions form={form} isMasked={Boolean(job.generation_params.mask)} />
        : <HiresFields form={form} choices={choices.data} />}
      <div class='dialog-actions'>
        <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
        <button class='button primary' disabled={form.busy}>{common.save}</button>
      </div>
    </form>
  )
}

/** Only what differs, so that the service keeps everything else. */
function patchOf (before: CreateForm, after: CreateForm): JobPatch {
  const parameters = changedParameters(before, after)
  return {
    ...Object.keys(parameters).length > 0 && { generation_params: parameters },
    ...after.background !== before.background && { background: after.background },
    ...after.priority !== before.priority && { priority: Number(after.priority) },
    ...after.target_server_alias !== before.target_server_alias && { server: after.target_server_alias || 'default' }
  }
}
