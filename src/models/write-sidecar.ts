import { withoutTags } from '../lib/text.ts'
import { randomUUID } from 'node:crypto'
import { lstat, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { objectOf, type JsonObject } from '../a1111/json-values.ts'
import { parseJson } from '../json/parse.ts'
import { flushFolder } from '../media/file-sink.ts'
import { stemOf } from './companions.ts'
import { openInside } from './folders.ts'
import { baseModelOf } from './base-models.ts'
import type { ModelFacts, ModelFile } from './model.ts'

/**
 * Writes what Civitai says beside a model: all of it into `.civitai.json`, and into Forge's own `.json` only what Forge
 * understands and nobody has written yet. Other fields stay as they are.
 * @param answer Civitai's answer for the version
 * @throws Error where a file cannot be written, or is no JSON and so must not be replaced
 */
export async function writeSidecars (file: ModelFile, facts: ModelFacts, answer: JsonObject): Promise<void> {
  const stem = stemOf(basename(file.absolutePath))
  await mergeFile(file, `${stem}.civitai.json`, before => ({ ...before, ...answer, fetched_at: new Date().toISOString() }))
  const wanted = forgeFields(file, facts)
  await mergeFile(file, `${stem}.json`, before => {
    const missing = Object.entries(wanted).filter(([name]) => isEmpty(before[name]))
    return missing.length === 0 ? before : { ...before, ...Object.fromEntries(missing) }
  })
}

/** The fields of Forge's user metadata that Civitai can fill. */
function forgeFields ({ type }: ModelFile, facts: ModelFacts): Record<string, string> {
  const description = withoutTags((facts.description ?? '').replace(/<br\s*\/?>|<\/(p|li|h\d)>/gi, '\n'), '').trim()
  const version = forgeVersion(facts.baseModel ?? '')
  return {
    ...(description === '' ? {} : { description }),
    ...(type === 'lora' && version !== null ? { 'sd version': version } : {}),
    ...(type === 'lora' && facts.triggerWords.length > 0 ? { 'activation text': facts.triggerWords.join(', ') } : {})
  }
}

/** Forge's word for a base model; null for those that it has none for. */
function forgeVersion (baseModel: string): string | null {
  const words: Readonly<Record<string, string>> = { 'SD 1': 'SD1', 'SD 2': 'SD2', SDXL: 'SDXL' }
  return words[baseModelOf(baseModel)?.family ?? ''] ?? null
}

function isEmpty (value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === 'Unknown'
}

/**
 * Changes a JSON file beside a model, whole or not at all; what `change` gives back as it was is not written.
 * @throws Error where it cannot be written, or is no JSON and so must not be replaced
 */
export async function mergeFile (
  { root, absolutePath }: ModelFile, name: string, change: (before: JsonObject) => JsonObject
): Promise<void> {
  const folder = dirname(absolutePath)
  const before = await readBefore(root, folder, name)
  const after = change(before)
  if (after === before || (Object.keys(before).length === 0 && Object.keys(after).length === 0)) return
  const draft = join(folder, `.${randomUUID()}.part`)
  try {
    const file = await open(draft, 'wx', 0o644)
    try {
      await file.writeFile(`${JSON.stringify(after, null, 4)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, join(folder, name))
    await flushFolder(folder)
  } finally {
    await rm(draft, { force: true })
  }
}

async function readBefore (root: string, folder: string, name: string): Promise<JsonObject> {
  const stats = await lstat(join(folder, name)).catch(() => null)
  if (stats === null) return {}
  const file = stats.isFile() ? await openInside(root, folder, name) : null
  if (file === null) throw new Error(`${name} is no plain file`)
  try {
    const text = await file.readFile()
    const content = text.length === 0 ? {} : objectOf(parseJson(name, text))
    if (content === null) throw new Error(`${name} is no JSON object`)
    return content
  } finally {
    await file.close()
  }
}
