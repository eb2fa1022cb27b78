/** Bytes of a block; files are written in steps of this size. */
export const blockBytes = 256 * 1024

/** Blocks that are kept for the next files. */
const mostKept = 4
const kept: Buffer[] = []

/**
 * A block of memory with any content. Files borrow them in turn: buffers that pass away with each file have V8 collect
 * old garbage several times a second.
 */
export function borrowBlock (): Buffer {
  return kept.pop() ?? Buffer.allocUnsafeSlow(blockBytes)
}

/** Returns a block that nothing reads or writes any more. */
export function returnBlock (block: Buffer): void {
  if (kept.length < mostKept) kept.push(block)
}
