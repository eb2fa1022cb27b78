/** The files of a zip with uncompressed entries, by name (APPNOTE.TXT §4.3.12 and §4.3.16). */
export function zipEntries (zip: Buffer): Map<string, { content: Buffer, isCompressed: boolean }> {
  const end = zip.lastIndexOf(Buffer.from('504b0506', 'hex'))
  const entries = new Map<string, { content: Buffer, isCompressed: boolean }>()
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const [nameLength = 0, extraLength = 0, commentLength = 0] = [28, 30, 32].map(place => zip.readUInt16LE(at + place))
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength)
    const size = zip.readUInt32LE(at + 20)
    const head = zip.readUInt32LE(at + 42)
    const begin = head + 30 + zip.readUInt16LE(head + 26) + zip.readUInt16LE(head + 28)
    entries.set(name, { content: zip.subarray(begin, begin + size), isCompressed: zip.readUInt16LE(at + 10) !== 0 })
    at += 46 + nameLength + extraLength + commentLength
  }
  return entries
}
