/**
 * Passes on chunks up to so many bytes.
 * @throws the error that `excess` creates if there are more; then the rest is not read
 */
export async function * bounded (
  chunks: AsyncIterable<Buffer>, most: number, excess: () => Error
): AsyncGenerator<Buffer, void> {
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    if (bytes > most) throw excess()
    yield chunk
  }
}

/** All of it. @throws as `bounded` */
export async function readWhole (chunks: AsyncIterable<Buffer>, most: number, excess: () => Error): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of bounded(chunks, most, excess)) parts.push(chunk)
  return Buffer.concat(parts)
}

/** The chunks up to the one that exceeds so many bytes; the rest is not read. */
export async function readBeginning (chunks: AsyncIterable<Buffer>, most: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    parts.push(chunk)
    bytes += chunk.length
    if (bytes > most) break
  }
  return Buffer.concat(parts)
}
