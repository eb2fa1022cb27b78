import type { Warning } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../errors.ts'
import { definedOnly, invalidField, isRecord, isUnset } from './field-values.ts'

type Parameters = Readonly<Record<string, unknown>>

/** Scripts that run what the caller writes as a program on the server. */
const deniedScripts = new Set(['custom code'])
/** Arguments of ControlNet units that make the server read folders of its disk. */
const folderArguments = ['batch_image_dir', 'batch_mask_dir']

/**
 * The parameters with their scripts in A1111's shape: arguments only with a script, always-on scripts without
 * arguments only by name: A1111 ignores them, but refuses those that it does not have.
 * @throws ServiceError `unsupported_parameter` for scripts that reach beyond the picture, `invalid_field_value`
 */
export function checkScripts (parameters: Parameters, warn: (warning: Warning) => void): Parameters {
  const { script_name: name, script_args: args, alwayson_scripts: always, ...others } = parameters
  if (typeof name === 'string') refuseScript(name, 'script_name')
  const scripts = isRecord(always) ? alwaysOn(always, warn) : {}
  return {
    ...others,
    ...(name === undefined ? {} : definedOnly({ script_name: name, script_args: args ?? [] })),
    ...(Object.keys(scripts).length === 0 ? {} : { alwayson_scripts: scripts })
  }
}

function alwaysOn (given: Parameters, warn: (warning: Warning) => void): Record<string, unknown> {
  const scripts: Record<string, unknown> = {}
  for (const [title, script] of Object.entries(given)) {
    const field = `alwayson_scripts.${title}`
    refuseScript(title, field)
    if (!isUnset(script) && !isRecord(script)) throw invalidField(field, `${field} must be an object with a list of args.`)
    if (!isRecord(script) || isUnset(script.args)) {
      warn({ code: 'script_without_arguments_ignored', message: `The script ${title} has no args, so a server ignores it.`, field })
      scripts[title] = {}
      continue
    }
    if (!Array.isArray(script.args)) throw invalidField(`${field}.args`, `${field}.args must be a list.`)
    script.args.forEach((argument: unknown, index) => refuseFolders(argument, `${field}.args.${index}`))
    scripts[title] = { args: script.args as unknown[] }
  }
  return scripts
}

function refuseScript (title: string, field: string): void {
  if (!deniedScripts.has(title.trim().toLowerCase())) return
  throw new ServiceError('unsupported_parameter',
    `The script "${title}" runs programs on the server and cannot be used by a job.`, { field })
}

function refuseFolders (argument: unknown, field: string): void {
  if (!isRecord(argument)) return
  const name = folderArguments.find(name => !isUnset(argument[name]))
  if (name === undefined) return
  throw new ServiceError('unsupported_parameter',
    `${name} makes the server read a folder of its disk; send the image itself.`, { field: `${field}.${name}` })
}
