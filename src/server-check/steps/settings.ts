import { isDeepStrictEqual } from 'node:util'
import { rulesOf } from '../../a1111/kinds/registry.ts'
import { textOf } from '../../lib/json-values.ts'
import { addFinding, type CheckFacts } from '../report.ts'
import { type CheckSession, NotFoundOut } from '../session.ts'
import { putBack, readOptions } from '../undo.ts'
import { hasImage, infoOf } from './generations.ts'

/** Another value that a setting can have for one small generation without loading or converting anything. */
type Change = (present: unknown) => unknown

const flip: Change = present => present !== true
const other = (one: unknown, instead: unknown): Change => present => isDeepStrictEqual(present, one) ? instead : one

/**
 * Settings that jobs override; the check changes them to see which are restored. It omits those that load or convert
 * models, need memory or download something: all settings are restored in the same way.
 */
const changes: Readonly<Record<string, Change>> = {
  CLIP_stop_at_last_layers: other(2, 1),
  randn_source: other('CPU', 'GPU'),
  eta_noise_seed_delta: other(31_337, 0),
  eta_ddim: other(0.1, 0),
  eta_ancestral: other(0.9, 1),
  s_churn: other(0.1, 0),
  s_noise: other(0.99, 1),
  s_min_uncond: other(0.1, 0),
  comma_padding_backtrack: other(19, 20),
  extra_networks_default_multiplier: other(0.9, 1),
  sdxl_crop_top: other(8, 0),
  sdxl_crop_left: other(8, 0),
  sdxl_refiner_low_aesthetic_score: other(2.4, 2.5),
  sdxl_refiner_high_aesthetic_score: other(5.9, 6),
  skip_early_cond: other(0.1, 0),
  always_discard_next_to_last_sigma: flip,
  uni_pc_order: other(2, 3),
  uni_pc_lower_order_final: flip,
  use_old_karras_scheduler_sigmas: flip,
  no_dpmpp_sde_batch_determinism: flip,
  hires_fix_use_firstpass_conds: flip,
  use_old_hires_fix_width_height: flip,
  refiner_switch_by_sample_steps: flip,
  pad_cond_uncond: flip,
  tiling: flip,
  inpainting_mask_weight: other(0.9, 1),
  initial_noise_multiplier: other(0.99, 1),
  img2img_extra_noise: other(0.1, 0),
  img2img_color_correction: flip,
  img2img_fix_steps: flip
}

/** For each of these settings that the server has: a value other than its current one. */
function harmlessChanges (options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(changes)
    .filter(([key]) => options[key] !== undefined && options[key] !== null)
    .map(([key, change]) => [key, change(options[key])]))
}

/** Further generations to find and omit a setting with which generations fail. */
const maxSplits = 2

/** Finds whether the server restores the settings that a generation overrides. */
export async function findRestoring (session: CheckSession, facts: CheckFacts): Promise<void> {
  if (rulesOf(facts.traits).overrideSettings === null) {
    throw new NotFoundOut('This kind of server accepts no settings with a generation.')
  }
  const before = await readOptions(session.calls, session.signal)
  const tried = await workingChanges(session, before, harmlessChanges(before))
  const keys = Object.keys(tried.changes)
  const leaked = tried.changed
  if (leaked.length === 0) {
    // All of these can be in its config file already, as after an earlier check.
    const { restoresOverrides } = rulesOf(facts.traits)
    facts.learned.restoresOverrides = restoresOverrides
    addFinding(facts, 'overrides', 'good', `It restores the settings that a job overrides: all ${keys.length} that were ` +
      `tried${restoresOverrides === 'saved' ? ', which are in its config file' : ''}.`)
    return
  }
  // After being written once, they are in its config file.
  const left = await putBackNow(session)
  if (left.length > 0) {
    throw new NotFoundOut(`It did not restore ${left.join(', ')}, and does not accept their former values with POST /sdapi/v1/options.`)
  }
  const again = await override(session, tried.changes)
  const stillLeaked = again.changed
  await putBackNow(session)
  const traces = await tracesAfter(session)
  facts.learned.restoresOverrides = stillLeaked.length === 0 ? 'saved' : 'none'
  if (stillLeaked.length === 0) {
    addFinding(facts, 'overrides', 'note', `It restores only settings that are in its config file: ${leaked.length} of ` +
      `${keys.length} that were tried were not, and stayed after the generation (${shortList(leaked)}). They are put ` +
      'back, and in its config file now. StableQueue sees to it that a job\'s settings do not reach the next one.')
  } else {
    addFinding(facts, 'overrides', 'harm', `It does not restore settings that a job overrides: ${stillLeaked.length} of ` +
      `${keys.length} stayed (${shortList(stillLeaked)}), also once they were in its config file. They are put back. ` +
      'StableQueue sends the usual values along with each job.', 'Update the server if there is a newer version.')
  }
  if (traces.length > 0) {
    addFinding(facts, 'overrides', 'harm', `A plain generation afterwards still names ${traces.join(', ')}.`,
      'Restart the server, and look at its settings.')
  }
}

interface Overridden {
  readonly changes: Readonly<Record<string, unknown>>
  /** Settings that differed afterwards. */
  readonly changed: readonly string[]
}

/** The changes with which a generation succeeds; if one with all of them fails, it tries halves. */
async function workingChanges (
  session: CheckSession, before: Readonly<Record<string, unknown>>, changes: Readonly<Record<string, unknown>>
): Promise<Overridden> {
  let remaining = changes
  for (let split = 0; ; split++) {
    if (Object.keys(remaining).length === 0) throw new NotFoundOut('It has none of the settings that jobs override.')
    const { ok, changed } = await override(session, remaining, before)
    if (ok) return { changes: remaining, changed }
    if (changed.length > 0) await putBackNow(session)
    if (split === maxSplits) throw new NotFoundOut('Generations that override settings fail.')
    const entries = Object.entries(remaining)
    remaining = Object.fromEntries(entries.slice(0, Math.floor(entries.length / 2)))
  }
}

async function override (
  session: CheckSession, changes: Readonly<Record<string, unknown>>, known?: Readonly<Record<string, unknown>>
): Promise<{ readonly ok: boolean, readonly changed: readonly string[] }> {
  const before = known ?? await readOptions(session.calls, session.signal)
  const keys = Object.keys(changes)
  const noted = session.undo.read()
  const settings = Object.fromEntries(keys.map(key => [key, { before: before[key], set: changes[key] }]))
  await session.undo.write({ ...noted, settings: { ...noted.settings, ...settings } })
  const answer = await session.generate({
    steps: 1, fields: { override_settings: changes, override_settings_restore_afterwards: true }
  })
  const after = await readOptions(session.calls, session.signal)
  return { ok: hasImage(answer), changed: keys.filter(key => !isDeepStrictEqual(after[key], before[key])) }
}

/** @returns settings that could not be restored */
async function putBackNow (session: CheckSession): Promise<string[]> {
  const noted = session.undo.read()
  const left = await putBack({ ...noted, tasks: [] }, session)
  const settings = Object.fromEntries(Object.entries(noted.settings).filter(([key]) => left.includes(key)))
  await session.undo.write({ ...session.undo.read(), settings })
  return left
}

/** Words of an infotext that only overridden settings cause. */
const tracesOfSettings = ['Clip skip', 'RNG', 'ENSD', 'Tiling', 'Sigma churn', 'Sigma noise', 'Skip Early CFG', 'Eta']

async function tracesAfter (session: CheckSession): Promise<string[]> {
  const options = await readOptions(session.calls, session.signal)
  const info = infoOf(await session.generate({ steps: 1 }))
  const [text] = Array.isArray(info.infotexts) ? info.infotexts : []
  // A person can have set them permanently.
  const own = [
    Number(options.CLIP_stop_at_last_layers ?? 1) > 1 && 'Clip skip',
    !['GPU', undefined].includes(options.randn_source as string | undefined) && 'RNG',
    Number(options.eta_noise_seed_delta ?? 0) !== 0 && 'ENSD', options.tiling === true && 'Tiling',
    Number(options.s_churn ?? 0) !== 0 && 'Sigma churn', Number(options.s_noise ?? 1) !== 1 && 'Sigma noise',
    Number(options.skip_early_cond ?? 0) !== 0 && 'Skip Early CFG', Number(options.eta_ancestral ?? 1) !== 1 && 'Eta'
  ]
  return tracesOfSettings.filter(word => !own.includes(word) && String(text ?? '').includes(`, ${word}: `))
}

function shortList (names: readonly string[]): string {
  return names.length <= 4 ? names.join(', ') : `${names.slice(0, 4).join(', ')} and ${names.length - 4} more`
}

const setting = 'sd_model_checkpoint'

/** Finds whether the selected checkpoint is selected again after a generation that names another one. */
export async function findSelection (session: CheckSession, facts: CheckFacts): Promise<void> {
  const { checkpoint } = facts.requested
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
  // The next generation, without a checkpoint, loads the selected one again, so that no client waits for that.
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
