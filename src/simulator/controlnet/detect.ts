import { createPicture, type Picture } from '../images/pixels.ts'

/** A map such as a preprocessor makes: white lines where neighbouring pixels differ. */
export function detectEdges (picture: Picture): Picture {
  const { width, height, data } = picture
  const map = createPicture(width, height)
  const brightness = (x: number, y: number): number => {
    const offset = (Math.min(y, height - 1) * width + Math.min(x, width - 1)) * 3
    return (data[offset] as number) + (data[offset + 1] as number) + (data[offset + 2] as number)
  }
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const here = brightness(x, y)
      const difference = Math.abs(here - brightness(x + 1, y)) + Math.abs(here - brightness(x, y + 1))
      map.data.fill(difference > 48 ? 255 : 0, (y * width + x) * 3, (y * width + x) * 3 + 3)
    }
  }
  return map
}
