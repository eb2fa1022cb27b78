import { dirname } from 'node:path'
import { ServiceError } from '../lib/errors.ts'
import { fieldsOf, type JsonObject } from '../lib/json-values.ts'
import type { Log } from '../lib/logging.ts'
import type { Model, ModelFacts } from '../model-facts/facts.ts'
import type { Catalogue } from './catalogue.ts'
import type { CivitaiClient, Freshness } from './civitai-client.ts'
import { factsOfVersion, idOf, versionIn } from './civitai-facts.ts'
import type { Hasher, ModelFileStore } from './file-store.ts'
import type { FolderLocks } from './folders.ts'
import { inspectAgain } from './inspect.ts'
import { notWritable, UnreadableSidecar } from './sidecar-file.ts'
import { writeSidecars } from './sidecars.ts'

export interface RefreshOptions {
  /** Reasons to look beyond the hash. */
  readonly versionId?: number
  readonly modelId?: number
  readonly freshness: Freshness
}

export interface ModelRefresher {
  /**
   * Asks Civitai about a model and keeps its answer, also beside the file.
   * @throws ServiceError `civitai_unreachable`, or `civitai_not_found` if Civitai does not know the file, or
   * `model_not_writable` if a sidecar cannot be read: the answer is kept then, but not beside the file
   */
  refresh (model: Model, requestedOptions: RefreshOptions): Promise<Model>
}

export interface ModelRefresherDependencies {
  readonly catalogue: Catalogue
  readonly files: ModelFileStore
  readonly civitai: CivitaiClient
  readonly hasher: Hasher
  readonly locks: FolderLocks
  readonly log: Log
}

export function createModelRefresher (dependencies: ModelRefresherDependencies): ModelRefresher {
  const { catalogue, files, civitai, hasher, locks, log } = dependencies

  /**
   * The model with the present hash of each of its files, so that nothing is written beside a file that has become
   * another model.
   */
  async function hashed (model: Model): Promise<Model> {
    let changed = false
    for (const file of model.files) {
      const fresh = await inspectAgain(file).catch(error => {
        if (model.files.length === 1) throw error
        return null
      })
      if (fresh === null || fresh.sha256 !== null) continue
      const { sha256, autoV3, size, modifiedAt } = await hasher.hash(file.absolutePath, new AbortController().signal)
      const known = { ...fresh, sha256, autoV3: file.type === 'lora' ? autoV3 : null, size, modifiedAt }
      await locks.take([dirname(file.absolutePath)], async () => { await files.write([await inspectAgain(known)]) })
      changed = true
    }
    return changed ? await catalogue.require(String(model.id)) : model
  }

  async function versionOf (model: Model, requestedOptions: RefreshOptions): Promise<JsonObject | null> {
    const { versionId, modelId, freshness } = requestedOptions
    if (versionId !== undefined) return await civitai.version(versionId, freshness)
    if (modelId !== undefined) {
      const whole = await civitai.model(modelId, freshness)
      const { filename, sha256 } = model
      return whole === null ? null : versionIn(whole, { filename, sha256, autoV3: model.autoV3 })
    }
    for (const hash of [model.sha256, model.shortHash, model.autoV3]) {
      const found = hash === null ? null : await civitai.versionByHash(hash, freshness)
      if (found !== null) return found
    }
    // a file changed by hand has another hash, but its sidecar can still hold the former answer
    const known = model.facts.civitai?.versionId ?? null
    return known === null ? null : await civitai.version(known, freshness)
  }

  /** The version's answer with facts that only the answer for its model has. */
  async function complete (version: JsonObject, freshness: Freshness): Promise<JsonObject> {
    const modelId = idOf(version.modelId)
    const model = modelId === null ? null : await civitai.model(modelId, freshness)
    if (model === null) return version
    const { name, type, nsfw, description, tags } = model
    return { ...version, model: { ...fieldsOf(version.model), name, type, nsfw, description, tags } }
  }

  /** @throws ServiceError `model_not_writable` for a sidecar that cannot be read and so is not rewritten */
  async function keep (model: Model, facts: ModelFacts, answer: JsonObject): Promise<void> {
    const hash = model.sha256 ?? model.shortHash ?? model.autoV3
    if (hash !== null) await files.writeFetched(hash, facts)
    const refused: UnreadableSidecar[] = []
    for (const file of model.files) {
      await locks.take([dirname(file.absolutePath)], async () => {
        const fresh = await inspectAgain(file)
        if (fresh.sha256 !== model.sha256) return
        await writeSidecars(fresh, facts, answer).catch(error => {
          if (error instanceof UnreadableSidecar) refused.push(error)
          // a read-only folder; the facts in Redis count
          else log.warn({ model: model.path, err: error }, 'could not write beside the model')
        })
        await files.write([await inspectAgain(fresh)])
      }).catch(error => { log.warn({ model: model.path, err: error }, 'could not read the model again') })
    }
    if (refused[0] !== undefined) notWritable(refused[0])
  }

  return {
    async refresh (given, requestedOptions) {
      const model = await hashed(given)
      const version = await versionOf(model, requestedOptions)
      const answer = version === null ? null : await complete(version, requestedOptions.freshness)
      const facts = answer === null ? null : factsOfVersion(answer, Date.now())
      if (answer === null || facts === null) {
        const hash = model.shortHash ?? model.autoV3
        throw new ServiceError('civitai_not_found', hash === null
          ? `${model.filename} has no hash to find it at Civitai; load it once at its server, or send modelVersionId.`
          : `Civitai knows no file with the hash ${hash} of ${model.filename}.`)
      }
      await keep(model, facts, answer)
      return await catalogue.require(String(model.id))
    }
  }
}
