import { createHash } from 'node:crypto'
import { PythonError } from '../fastapi/errors.ts'

/** A checkpoint file on the simulated disk. */
export interface CheckpointFile {
  /** Relative to the models folder, such as `sub/x.safetensors`. */
  readonly name: string
  /** Base name without extension, `x`. */
  readonly shortName: string
  /** Without extension, folders joined by underscores, `sub_x`. */
  readonly modelName: string
  readonly sha256: string
}

/** The checkpoints that the server knows, and which of them it has hashed. */
export interface Checkpoints {
  list (): readonly CheckpointFile[]
  /** The file with this exact alias; hash forms exist only once it was hashed. */
  find (alias: unknown): CheckpointFile | undefined
  /** As refiner and hires look: any file whose title contains the text. */
  findLoosely (text: string): CheckpointFile | undefined
  /** `x.safetensors`, and ` [shorthash]` behind it once hashed. */
  title (file: CheckpointFile): string
  describe (): ReadonlyArray<Record<string, unknown>>
  hash (file: CheckpointFile): void
  /** Reloads the folder. */
  refresh (names: readonly string[]): void
}

const folder = '/opt/a1111/models/Stable-diffusion'

/** `hashed` is A1111's hash cache on disk: it is added to, and survives restarts. */
export function createCheckpoints (names: readonly string[], hashed: Set<string>): Checkpoints {
  let files = names.map(describeFile)
  const isHashed = (file: CheckpointFile): boolean => hashed.has(file.sha256)
  const shortHash = (file: CheckpointFile): string => file.sha256.slice(0, 10)
  const title = (file: CheckpointFile): string => isHashed(file) ? `${file.name} [${shortHash(file)}]` : file.name

  function aliases (file: CheckpointFile): readonly string[] {
    const oldHash = file.sha256.slice(-8)
    const plain = [oldHash, file.name, file.shortName, file.modelName, `${file.name} [${oldHash}]`]
    if (!isHashed(file)) return plain
    const hash = shortHash(file)
    return [...plain, hash, file.sha256, `${file.name} [${hash}]`, `${file.shortName} [${hash}]`]
  }

  return {
    list: () => files,
    find: alias => files.findLast(file => typeof alias === 'string' && aliases(file).includes(alias)),
    findLoosely (text) {
      const exact = files.find(file => aliases(file).includes(text))
      const containing = files.filter(file => title(file).includes(text))
      return exact ?? containing.sort((a, b) => title(a).length - title(b).length)[0]
    },
    title,
    describe: () => files.map(file => ({
      title: title(file),
      model_name: file.modelName,
      hash: isHashed(file) ? shortHash(file) : null,
      sha256: isHashed(file) ? file.sha256 : null,
      filename: `${folder}/${file.name}`,
      config: null
    })),
    hash: file => { hashed.add(file.sha256) },
    refresh (present) {
      files = present.map(name => files.find(file => file.name === name) ?? describeFile(name))
    }
  }
}

/**
 * The checkpoint that refiner or hires ask for.
 *
 * @throws PythonError when nothing contains the text
 */
export function requireLoosely (checkpoints: Checkpoints, text: string): CheckpointFile {
  const file = checkpoints.findLoosely(text)
  if (file === undefined) throw new PythonError('Exception', `Could not find checkpoint with name ${text}`)
  return file
}

function describeFile (name: string): CheckpointFile {
  const bare = name.replace(/\.(safetensors|ckpt)$/, '')
  return {
    name,
    shortName: bare.slice(bare.lastIndexOf('/') + 1),
    modelName: bare.replaceAll('/', '_'),
    sha256: createHash('sha256').update(`checkpoint ${name}`).digest('hex')
  }
}
