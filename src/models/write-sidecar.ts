import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { fieldsOf, type JsonObject } from '../a1111/json-values.ts'
import { idOf } from '../civitai/version-facts.ts'
import { folderNames } from './companions.ts'
import type { ModelFacts, ModelFile } from './model.ts'
import { draftSidecar, readSidecar } from './sidecar-file.ts'
import { forgeFields, isCivitaiField, oursIn, writtenForForge, type Sidecar } from './sidecars.ts'

/**
 * Writes what Civitai says beside a model: all of it into `.civitai.json`, and into Forge's own `.json` only what Forge
 * understands and no person has written. What was written into the latter is noted in the former, so that it is never
 * taken for a person's word. To be called in the folder's turn.
 * @param answer Civitai's answer for the version
 * @throws Error for the first file that cannot be written; the other is written all the same
 */
export async function writeSidecars (file: ModelFile, facts: ModelFacts, answer: JsonObject): Promise<void> {
  const folder = dirname(file.absolutePath)
  const filename = basename(file.absolutePath)
  const names = folderNames(await readdir(folder))
  const place = (name: string) => ({ root: file.root, folder, name })
  const beside = await Promise.all(names.companionsOf(filename).sidecars.map(async ({ name, ending }) =>
    ({ ending, outcome: await readSidecar(place(name)) })))
  const sidecars = beside.flatMap(({ ending, outcome }): Sidecar[] =>
    outcome.kind === 'read' ? [{ ending, content: outcome.content }] : [])
  const isOurs = oursIn(sidecars, file.facts.civitai === undefined ? [] : [file.facts.civitai])
  const wanted = forgeFields(file.type, facts)
  const written: Record<string, unknown> = {}
  const problems: unknown[] = []

  /** First, so that a crash in between leaves a note of what is there. */
  async function writeForge (): Promise<void> {
    const name = names.sidecarFor(filename, '.json')
    // Forge reads no other, and would take this one for both of two models with one stem
    if (name === null || name === `${filename}.json`) return
    const draft = await draftSidecar(place(name), before => {
      const changes: Record<string, unknown> = {}
      for (const field of ['description', 'sd version', 'activation text']) {
        const [present, value] = [before[field], wanted[field]]
        if (!isEmpty(present) && !isOurs(field, present) && present !== value) continue
        if (value !== undefined) written[field] = value
        if (present !== value && !(value === undefined && isEmpty(present))) changes[field] = value
      }
      return changes
    })
    await draft.write()
  }

  async function writeOwn (): Promise<void> {
    const name = names.sidecarFor(filename, '.civitai.json')
    if (name === null) throw new Error('every name that its .civitai.json file could have is another model\'s')
    const draft = await draftSidecar(place(name), before => ({
      ...isSameVersion(before, answer)
        ? {}
        : Object.fromEntries(Object.keys(before).filter(isCivitaiField).map(field => [field, undefined])),
      ...answer,
      fetched_at: new Date().toISOString(),
      ...Object.keys(written).length > 0 || before[writtenForForge] !== undefined ? { [writtenForForge]: written } : {}
    }))
    await draft.write()
  }

  await writeForge().catch(error => { problems.push(error) })
  await writeOwn().catch(error => { problems.push(error) })
  if (problems.length > 0) throw problems[0]
}

/** What another version, or another model, said does not stay beside what this one says. */
function isSameVersion (before: JsonObject, answer: JsonObject): boolean {
  const ids = (content: JsonObject) => [idOf(content.id), idOf(content.modelId) ?? idOf(fieldsOf(content.model).id)]
  return ids(before).join() === ids(answer).join()
}

function isEmpty (value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === 'Unknown'
}
