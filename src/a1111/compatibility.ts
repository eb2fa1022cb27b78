import type { A1111ParameterName, A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { type ErrorCode, ServiceError } from '../lib/errors.ts'
import { fieldsOf } from '../lib/json-values.ts'
import type { Hints } from './aliases.ts'
import { withControlNet } from './controlnet.ts'
import { checkExtras, noExtras } from './extras.ts'
import { definedOnly, isUnchosen, picked, without } from './field-values.ts'
import type { ServerKindRules } from './kinds/kind.ts'
import { rulesOf } from './kinds/registry.ts'
import { loraNames, renameLoras, withoutComments } from './lora-tags.ts'
import {
  findCheckpoint, findListed, findLora, findSampler, findScheduler, findUpscaler, findVae, lastPart,
  type SamplerChoice
} from './names.ts'
import { withRegions } from './regional.ts'
import {
  type CheckedServer, type Compatibility, type CompatibilityRequest, createNameResolver, type Listed, type OnMissing,
  type ResolveName, sentenceOfMissing
} from './resolve.ts'
import { type Inventory, routeOf } from './types.ts'

/** Two fields that belong together: those of the generation, or those of its second pass. */
interface FieldPair {
  readonly sampler: 'sampler_name' | 'hr_sampler_name'
  readonly scheduler: 'scheduler' | 'hr_scheduler'
}

/**
 * Samplers and schedulers by the server's own names, in the form of its time: two fields since A1111 1.9,
 * one name before.
 */
function resolveSampling (
  parameters: A1111Parameters, hints: Hints, server: CheckedServer, resolve: ResolveName
): A1111Parameters {
  const { inventory } = server
  const hinted = definedOnly({
    sampler_name: known(hints.sampler, name => findSampler(name, inventory)),
    scheduler: known(hints.scheduler, name => findScheduler(name, inventory))
  })
  const asked: A1111Parameters = { ...hinted, ...parameters }
  const main = resolvePair(asked, { sampler: 'sampler_name', scheduler: 'scheduler' }, server, resolve)
  const both = resolvePair(main, { sampler: 'hr_sampler_name', scheduler: 'hr_scheduler' }, server, resolve)
  if (both.sampler_name !== undefined) return both
  const { defaultSampler } = rulesOf(server.traits)
  const usual = defaultSampler === null ? undefined : findSampler(defaultSampler, inventory)?.sampler
  return definedOnly<unknown>({ sampler_name: usual, ...both })
}

/** The name, if the server has it. */
function known (name: string | undefined, find: (name: string) => unknown): string | undefined {
  return name === undefined || find(name) === null ? undefined : name
}

function resolvePair (
  given: A1111Parameters, pair: FieldPair, server: CheckedServer, resolve: ResolveName
): A1111Parameters {
  const { inventory, traits } = server
  if (given[pair.sampler] === undefined && given[pair.scheduler] === undefined) return given
  const { [pair.sampler]: sampler, [pair.scheduler]: scheduler } = given
  const chosen = sampler === undefined ? null : chooseSampler(sampler, pair.sampler)
  const schedule = scheduler === undefined ? chosen?.scheduler ?? null : chooseScheduler(scheduler)
  const joint = chosen !== null && scheduler !== undefined ? jointName(chosen.sampler, scheduler, inventory) : null
  const ownSampler = joint ?? chosen?.sampler
  const ownScheduler = joint !== null || schedule === null ? undefined : rulesOf(traits).schedulerName(schedule)
  if (ownSampler === sampler && ownScheduler === scheduler) return given
  return definedOnly<unknown>({ ...given, [pair.sampler]: ownSampler, [pair.scheduler]: ownScheduler })

  function chooseSampler (wanted: string, field: string): SamplerChoice | null {
    if (inventory.missing.includes('samplers')) return { sampler: wanted, scheduler: null }
    const find = () => findSampler(wanted, inventory)
    const candidates = () => inventory.samplers.map(({ name }) => name)
    return resolve({ wanted, field, code: 'sampler_not_found', noun: 'sampler', find, candidates })
  }

  function chooseScheduler (wanted: string) {
    if (inventory.missing.includes('schedulers')) return { name: wanted, label: wanted }
    const find = () => findScheduler(wanted, inventory)
    const candidates = () => inventory.schedulers.map(({ label }) => label)
    return resolve({ wanted, field: pair.scheduler, code: 'scheduler_not_found', noun: 'scheduler', find, candidates })
  }
}

/** The single name for both at a server from before schedulers. */
function jointName (sampler: string, scheduler: string, inventory: Inventory): string | null {
  if (!inventory.missing.includes('schedulers')) return null
  return findSampler(`${sampler} ${scheduler}`, inventory)?.sampler ?? null
}

/** Forge's own word for the modules of the first pass. */
const sameModules = 'Use same choices'
const isSameModules = (text: string) => text.trim().toLowerCase() === sameModules.toLowerCase()
/** Menu words for no separate module. */
const isNoModule = (text: string) => /^(none|automatic|built[ -]?in)?$/i.test(text.trim())

/**
 * Checks whether a server can run a request, and finds its own names for everything. A1111 answers 200 with another
 * image if it does not know a checkpoint, sampler or LoRA, so the names are looked up first. Lists that the server does
 * not offer are not checked.
 * @param noteMissing gets the lists in which a name was not found
 * @throws ServiceError 422 with `field` and `nearest` for a missing name, unless it can be omitted; `server_capability`
 * if the server does not offer the route for it
 */
export function checkCompatibility (
  request: CompatibilityRequest, server: CheckedServer, onMissing: OnMissing,
  noteMissing: (lists: readonly Listed[]) => void = () => {}
): Compatibility {
  const { mode, checkpoint } = request
  const { inventory, traits } = server
  if (traits.missingRoutes?.includes(routeOf(mode)) === true || (mode === 'img2img' && !traits.capabilities.img2img)) {
    if (mode === 'extras') throw noExtras()
    const field = mode === 'txt2img' ? 'target_server_alias' : 'init_images'
    throw new ServiceError('server_capability', `This server offers no ${mode}.`, { field })
  }
  const warnings: Warning[] = []
  const warn = (warning: Warning) => { warnings.push(warning) }
  const resolve = createNameResolver(onMissing, warn, noteMissing)
  if (mode === 'extras') return { ...checkExtras(request.parameters, server, resolve), warnings }
  const offers = (list: Listed) => !inventory.missing.includes(list)
  const checkpointTitle = checkpoint === null ? null : titleOf(checkpoint, 'checkpoint_name', 'checkpoint_not_found')
  const rules = rulesOf(traits)
  const own = withOwnDefaults(request, rules)
  const chosen = rules.takesSchedulers ? own : withoutSchedulers(own, inventory, warn)
  const sampled = resolveSampling(chosen, request.hints, server, resolve)
  const steps = [
    withOtherCheckpoints, withUpscaler, withModules, withLoras, withStyles, withScripts, withUnits, withDivision
  ]
  const parameters = steps.reduce((given, step) => step(given), sampled)
  return { parameters, checkpointTitle, warnings }

  function titleOf (wanted: string, field: string, code: ErrorCode): string | null {
    if (!offers('checkpoints')) return wanted
    const candidates = () => inventory.checkpoints.map(({ title }) => title)
    const find = () => findCheckpoint(wanted, inventory)
    return resolve({ wanted, field, code, noun: 'checkpoint', find, candidates })?.title ?? null
  }

  function withUnits (given: A1111Parameters): A1111Parameters {
    return withControlNet(given, inventory, resolve)
  }

  function withDivision (given: A1111Parameters): A1111Parameters {
    return withRegions(given, traits, resolve, warn)
  }

  function withOtherCheckpoints (given: A1111Parameters): A1111Parameters {
    return ['refiner_checkpoint', 'hr_checkpoint_name'].reduce((parameters, field) =>
      replaced(parameters, field, wanted => titleOf(wanted, field, 'model_not_found')), given)
  }

  function withUpscaler (given: A1111Parameters): A1111Parameters {
    if (!offers('upscalers') || !offers('latentUpscaleModes')) return given
    const candidates = () => [...inventory.latentUpscaleModes, ...inventory.upscalers]
    return replaced(given, 'hr_upscaler', wanted => {
      const find = () => findUpscaler(wanted, inventory)
      // to most servers "None" is an upscaler
      if (isUnchosen(wanted)) return find()
      return resolve({ wanted, field: 'hr_upscaler', code: 'model_not_found', noun: 'upscaler', find, candidates })
    })
  }

  function withModules (given: A1111Parameters): A1111Parameters {
    const ofBoth = withModuleList(given, 'hr_additional_modules', 'hr_additional_modules')
    const settings = ofBoth.override_settings
    if (settings === undefined) return ofBoth
    const named = replaced(settings, 'sd_vae', wanted => vaeOf(wanted, 'override_settings.sd_vae'))
    const field = 'override_settings.forge_additional_modules'
    return { ...ofBoth, override_settings: withModuleList(named, 'forge_additional_modules', field) }
  }

  /** A list of VAEs and text encoders; an empty one means those inside the checkpoint, so it must not become empty. */
  function withModuleList<Of extends Readonly<Record<string, unknown>>> (object: Of, name: string, field: string): Of {
    const list: unknown = object[name]
    if (!Array.isArray(list)) return object
    const { [name]: _, ...others } = object
    const wanted = list.map(String)
    if (wanted.some(isSameModules)) {
      return (name === 'hr_additional_modules' ? { ...others, [name]: [sameModules] } : others) as Of
    }
    const found = wanted.flatMap((text, index) => isNoModule(text) ? [] : vaeOf(text, `${field}.${index}`) ?? [])
    const isLeftOut = found.length === 0 && wanted.some(text => !isNoModule(text))
    return (isLeftOut ? others : { ...others, [name]: found }) as Of
  }

  /** Forge also takes paths for modules, which would let a job open any file of its disk. */
  function vaeOf (wanted: string, field: string): string | null {
    if (!offers('vaes')) return lastPart(wanted)
    const find = () => findVae(wanted, inventory)
    return resolve({ wanted, field, code: 'model_not_found', noun: 'VAE', find, candidates: () => inventory.vaes })
  }

  function withLoras (given: A1111Parameters): A1111Parameters {
    if (!offers('loras') || given.disable_extra_networks === true) return given
    return ['prompt', 'hr_prompt'].reduce((parameters, field) => replaced(parameters, field, prompt => {
      const read = prompt.includes('#') && hidesComments() ? withoutComments(prompt) : prompt
      const names = loraNames(read).map((wanted): [string, string | null] => [wanted, loraOf(wanted, field)])
      return names.every(([wanted, own]) => own === wanted) ? prompt : renameLoras(prompt, new Map(names))
    }), given)
  }

  function hidesComments (): boolean {
    return mode !== 'extras' && inventory.scripts[mode].some(title => title.toLowerCase() === 'comments')
  }

  function loraOf (wanted: string, field: string): string | null {
    // a name that the server knows stays as written, also in the answer
    const known = inventory.loras.find(({ name, alias }) => name === wanted || alias === wanted)
    if (known !== undefined && rulesOf(traits).loraName(known) === known.name) return wanted
    const candidates = () => inventory.loras.map(({ name }) => name)
    const find = () => findLora(wanted, inventory)
    const found = resolve({ wanted, field, code: 'model_not_found', noun: 'LoRA', find, candidates })
    return found === null ? null : rulesOf(traits).loraName(found)
  }

  function withStyles (given: A1111Parameters): A1111Parameters {
    const { style } = request.hints
    const hinted = style === undefined ? null : findListed(style, inventory.styles)
    const all = hinted === null ? given : { ...given, styles: [...given.styles ?? [], hinted] }
    if (!offers('styles')) return all
    return replacedEach(all, 'styles', (wanted, field) => {
      const found = isUnchosen(wanted) ? wanted : findListed(wanted, inventory.styles)
      if (found !== null) return found
      noteMissing(['styles'])
      warn({ code: 'style_not_found', message: `${sentenceOfMissing(wanted, 'style', inventory.styles).sentence} It changes nothing there.`, field })
      return onMissing === 'ignore' ? null : wanted
    })
  }

  function withScripts (given: A1111Parameters): A1111Parameters {
    if (!offers('scripts') || scriptNames.every(name => given[name] === undefined)) return given
    const titles = mode === 'extras' ? [] : inventory.scripts[mode]
    const nameOf = (wanted: string, field: string) => resolve({
      wanted, field, code: 'script_not_found', noun: 'script', find: () => findListed(wanted, titles), candidates: () => titles
    })
    const { alwayson_scripts: always, script_args: args, ...others } = replaced(given, 'script_name', wanted => nameOf(wanted, 'script_name'))
    const kept = Object.entries(always ?? {}).flatMap(([title, script]) => {
      const name = nameOf(title, `alwayson_scripts.${title}`)
      return name === null || fieldsOf(script).args === undefined ? [] : [[name, script]]
    })
    return {
      ...others,
      ...(others.script_name === undefined || args === undefined ? {} : { script_args: args }),
      ...(kept.length === 0 ? {} : { alwayson_scripts: Object.fromEntries(kept) as Record<string, unknown> })
    }
  }
}

const scriptNames = ['script_name', 'script_args', 'alwayson_scripts'] as const

/** Replaces A1111's defaults with the server's own if the client named no value. */
function withOwnDefaults ({ parameters, unnamed = [] }: CompatibilityRequest, rules: ServerKindRules): A1111Parameters {
  const left = rules.defaultSampler === null && unnamed.includes('sampler_name') ? ['sampler_name', 'scheduler'] : []
  const kept = left.length === 0 ? parameters : without<unknown>(parameters, name => left.includes(name))
  const own = picked(rules.defaults, unnamed as A1111ParameterName[])
  return Object.keys(own).length === 0 ? kept : { ...kept, ...own }
}

/**
 * A warning for the schedule, if the server has none apart from the sampler's name, and that cannot express it either.
 */
function withoutSchedulers (
  given: A1111Parameters, inventory: Inventory, warn: (warning: Warning) => void
): A1111Parameters {
  const pairs = [['scheduler', 'sampler_name'], ['hr_scheduler', 'hr_sampler_name']] as const
  return pairs.reduce((parameters, [field, sampler]) => {
    const { [field]: scheduler, ...others } = parameters
    if (scheduler === undefined || findSampler(`${parameters[sampler]} ${scheduler}`, inventory) !== null) return parameters
    if (!/^automatic$/i.test(scheduler)) {
      warn({ code: 'scheduler_ignored', message: 'This server chooses the schedule with the sampler, so it has no effect.', field })
    }
    return others
  }, given)
}

/** The object with one text replaced; null removes it. Other values stay. */
function replaced<Of extends Readonly<Record<string, unknown>>> (
  object: Of, name: string, exchange: (text: string) => string | null
): Of {
  const value = object[name]
  if (typeof value !== 'string') return object
  const other = exchange(value)
  if (other === value) return object
  const { [name]: _, ...others } = object
  return (other === null ? others : { ...others, [name]: other }) as Of
}

/** The same for a list of texts. */
function replacedEach<Of extends Readonly<Record<string, unknown>>> (
  object: Of, name: string, exchange: (text: string, field: string) => string | null
): Of {
  const list = object[name]
  if (!Array.isArray(list)) return object
  const others = list.map((text, index) => exchange(String(text), `${name}.${index}`)).filter(text => text !== null)
  return { ...object, [name]: others }
}
