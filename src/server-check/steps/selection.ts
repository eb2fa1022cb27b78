import { textOf } from '../../a1111/json-values.ts'
import { addFinding, type CheckFacts } from '../facts.ts'
import { NotFoundOut, type CheckSession } from '../session.ts'
import { putBack, readOptions } from '../undo.ts'
import { hasImage } from './generations.ts'

const setting = 'sd_model_checkpoint'

/** Whether the selected checkpoint is selected again after a generation that names another one. */
export async function findSelection (session: CheckSession, facts: CheckFacts): Promise<void> {
  const { checkpoint } = facts.wishes
  if (checkpoint === null) throw new NotFoundOut('No other checkpoint is loaded unless one is named (--checkpoint).')
  const selected = textOf((await readOptions(session.calls, session.signal))[setting])
  if (selected === null) throw new NotFoundOut('The server does not report which checkpoint is selected.')
  if (selected === checkpoint) throw new NotFoundOut('That checkpoint is the selected one; name another.')
  const noted = session.undo.read()
  await session.undo.write({
    ...noted, settings: { ...noted.settings, [setting]: { before: selected, set: checkpoint } }
  })
  const answer = await session.generate({
    steps: 1,
    fields: { override_settings: { [setting]: checkpoint }, override_settings_restore_afterwards: true }
  })
  const after = textOf((await readOptions(session.calls, session.signal))[setting])
  await putBack({ settings: session.undo.read().settings, tasks: [] }, session)
  // The next one without a checkpoint loads the selected one again, so that nobody else waits for that.
  const again = await session.generate({ steps: 1 })
  await session.undo.write({ ...session.undo.read(), settings: {} })
  if (!hasImage(answer)) throw new NotFoundOut(`A generation with that checkpoint brought no image (status ${answer.status}).`)
  facts.learned.keepsSelection = after === selected
  if (after === selected && hasImage(again)) {
    addFinding(facts, 'selection', 'good', 'It selects the former checkpoint again after a job that names another.')
  } else {
    addFinding(facts, 'selection', 'note', 'It keeps the checkpoint of a job selected. It is put back; StableQueue names ' +
      'the checkpoint of every job, so that each gets its own.')
  }
}
