import { createPicture, type Picture } from '../images/pixels.ts'

/** The map that a preprocessor makes of a picture: lines, light and dark, or the picture itself. */
export function drawMap (picture: Picture, label: string): Picture {
  if (/^none$/i.test(label)) return picture
  if (label.startsWith('invert')) return mapPixels(picture, value => 255 - value)
  if (/^(depth|normal|seg)/.test(label)) return shade(picture)
  return detectEdges(picture)
}

/** White lines where neighbouring pixels differ. */
function detectEdges (picture: Picture): Picture {
  const { width, height } = picture
  const map = createPicture(width, height)
  const at = (x: number, y: number): number => brightness(picture, Math.min(x, width - 1), Math.min(y, height - 1))
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const here = at(x, y)
      const difference = Math.abs(here - at(x + 1, y)) + Math.abs(here - at(x, y + 1))
      map.data.fill(difference > 48 ? 255 : 0, (y * width + x) * 3, (y * width + x) * 3 + 3)
    }
  }
  return map
}

function shade (picture: Picture): Picture {
  const { width, height } = picture
  const map = createPicture(width, height)
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      map.data.fill(Math.round(brightness(picture, x, y) / 3), (y * width + x) * 3, (y * width + x) * 3 + 3)
    }
  }
  return map
}

/** 0 to 765. */
function brightness ({ width, data }: Picture, x: number, y: number): number {
  const offset = (y * width + x) * 3
  return (data[offset] as number) + (data[offset + 1] as number) + (data[offset + 2] as number)
}

function mapPixels (picture: Picture, change: (value: number) => number): Picture {
  return { ...picture, data: Buffer.from(picture.data.map(change)) }
}
