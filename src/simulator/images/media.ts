import sharp from '../../lib/sharp.ts'

/** Media other than images in a server's answer. */
export const media = ['gif', 'mp4', 'webm', 'avif', 'webp', 'unknown', 'path'] as const
export type Medium = typeof media[number]

/** The images as other media, base64; videos have a true header and no frames. */
export async function encodeMedia (bitmaps: readonly Buffer[], wanted: readonly Medium[]): Promise<string[]> {
  const [first = Buffer.alloc(0)] = bitmaps
  const { width = 0, height = 0 } = bitmaps.length === 0 ? {} : await sharp(first).metadata()
  return await Promise.all(wanted.map(async medium => {
    switch (medium) {
      case 'gif': return base64(await (bitmaps.length > 1
        ? sharp([...bitmaps], { join: { animated: true } })
        : sharp(first)).gif().toBuffer())
      case 'avif': return base64(await sharp(first).avif({ effort: 0 }).toBuffer())
      case 'webp': return base64(await sharp(first).webp().toBuffer())
      case 'mp4': return base64(mp4(width, height))
      case 'webm': return base64(webm(width, height))
      case 'unknown': return base64(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'))
      default: return 'outputs/AnimateDiff/00001-1.mp4'
    }
  }))
}

const base64 = (bytes: Buffer): string => bytes.toString('base64')

function box (type: string, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(content.length + 8)
  head.write(type, 4, 'latin1')
  return Buffer.concat([head, content])
}

/** As ffmpeg writes it: the header comes behind the frames. */
function mp4 (width: number, height: number): Buffer {
  const track = Buffer.alloc(84)
  track.writeUInt32BE(width * 0x10000, 76)
  track.writeUInt32BE(height * 0x10000, 80)
  return Buffer.concat([
    box('ftyp', Buffer.from('isom\0\0\x02\0isomiso2avc1mp41', 'latin1')),
    box('mdat', Buffer.alloc(5000, 0x55)),
    box('moov', box('mvhd', Buffer.alloc(100)), box('trak', box('tkhd', track)))
  ])
}

function element (sign: number[], content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([...sign, 0x80 + content.length]), content])
}

function webm (width: number, height: number): Buffer {
  const side = (value: number) => Buffer.from([value >> 8, value & 0xff])
  const video = element([0xe0], Buffer.concat([element([0xb0], side(width)), element([0xba], side(height))]))
  return Buffer.concat([
    element([0x1a, 0x45, 0xdf, 0xa3], element([0x42, 0x82], Buffer.from('webm'))),
    element([0x18, 0x53, 0x80, 0x67], element([0x16, 0x54, 0xae, 0x6b], element([0xae], video)))
  ])
}
