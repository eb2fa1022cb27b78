import { fieldsOf, type JsonObject } from '../a1111/json-values.ts'
import type { CivitaiClient, Freshness } from '../civitai/client.ts'
import { factsOfVersion, idOf } from '../civitai/version-facts.ts'
import { ServiceError } from '../errors.ts'
import type { Log } from '../log.ts'
import { autoV3Of, type Catalogue } from './catalogue.ts'
import { inspectAgain } from './desk.ts'
import type { ModelFileStore } from './file-store.ts'
import type { Hasher } from './hasher.ts'
import type { Model, ModelFacts } from './model.ts'
import { writeSidecars } from './write-sidecar.ts'

export interface RefreshWishes {
  /** Where the hash tells nothing, or somebody knows better. */
  readonly versionId?: number
  readonly modelId?: number
  readonly freshness: Freshness
}

export interface ModelRefresher {
  /**
   * Asks Civitai about a model and keeps what it says, beside the file too where there is one.
   * @throws ServiceError `civitai_unreachable`, or `civitai_not_found` where Civitai does not know the file
   */
  refresh (model: Model, wishes: RefreshWishes): Promise<Model>
}

export interface ModelRefresherDependencies {
  readonly catalogue: Catalogue
  readonly files: ModelFileStore
  readonly civitai: CivitaiClient
  readonly hasher: Hasher
  readonly log: Log
}

export function createModelRefresher (dependencies: ModelRefresherDependencies): ModelRefresher {
  const { catalogue, files, civitai, hasher, log } = dependencies

  /** The model with a hash, computed where there is a file that has none yet. */
  async function hashed (model: Model): Promise<Model> {
    const [file] = model.files
    if (model.shortHash !== null || file === undefined) return model
    const { sha256, autoV3 } = await hasher.hash(file.absolutePath, new AbortController().signal)
    await files.write([{ ...await inspectAgain(file), sha256, autoV3: file.type === 'lora' ? autoV3 : null }])
    return await catalogue.require(String(model.id))
  }

  async function versionOf (model: Model, wishes: RefreshWishes): Promise<JsonObject | null> {
    const { versionId, modelId, freshness } = wishes
    if (versionId !== undefined) return await civitai.version(versionId, freshness)
    if (modelId !== undefined) return firstVersion(await civitai.model(modelId, freshness))
    for (const hash of [model.sha256, model.shortHash, autoV3Of(model)]) {
      const found = hash === null ? null : await civitai.versionByHash(hash, freshness)
      if (found !== null) return found
    }
    // a file that was changed by hand has another hash, but its sidecar may still say what it was
    const known = model.facts.civitai?.versionId ?? null
    return known === null ? null : await civitai.version(known, freshness)
  }

  /** The version's answer with what only the answer for its model says. */
  async function complete (version: JsonObject, freshness: Freshness): Promise<JsonObject> {
    const modelId = idOf(version.modelId)
    const model = modelId === null ? null : await civitai.model(modelId, freshness)
    if (model === null) return version
    const { name, type, nsfw, description, tags } = model
    return { ...version, model: { ...fieldsOf(version.model), name, type, nsfw, description, tags } }
  }

  async function keep (model: Model, facts: ModelFacts, answer: JsonObject): Promise<void> {
    for (const file of model.files) {
      await writeSidecars(file, facts, answer).catch(error => {
        // a folder that may only be read; what is in Redis counts
        log.warn({ model: model.path, err: error }, 'could not write beside the model')
      })
      await files.write([await inspectAgain(file)])
    }
    const sha256 = model.sha256 ?? model.shortHash
    if (sha256 !== null) await files.writeFetched(sha256, facts)
  }

  return {
    async refresh (given, wishes) {
      const model = await hashed(given)
      const version = await versionOf(model, wishes)
      const answer = version === null ? null : await complete(version, wishes.freshness)
      const facts = answer === null ? null : factsOfVersion(answer, Date.now())
      if (answer === null || facts === null) {
        throw new ServiceError('civitai_not_found', model.shortHash === null
          ? `${model.filename} has no hash that Civitai could know it by; load it once at its server, or give modelVersionId.`
          : `Civitai knows no file with the hash ${model.shortHash} of ${model.filename}.`)
      }
      await keep(model, facts, answer)
      return await catalogue.require(String(model.id))
    }
  }
}

function firstVersion (model: JsonObject | null): JsonObject | null {
  const versions = model?.modelVersions
  const id = idOf(model?.id)
  return Array.isArray(versions) && versions.length > 0 ? { modelId: id, ...fieldsOf(versions[0]) } : null
}
