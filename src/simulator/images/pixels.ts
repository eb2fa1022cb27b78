/** An RGB picture in memory, three bytes a pixel, rows from the top. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly data: Buffer
}

export function createPicture (width: number, height: number): Picture {
  return { width, height, data: Buffer.alloc(width * height * 3) }
}

/** Copies a picture into another one; the part that does not fit is cut off. */
export function paste (target: Picture, source: Picture, left: number, top: number): void {
  const bytes = Math.min(source.width, target.width - left) * 3
  for (let row = 0; row < Math.min(source.height, target.height - top); row += 1) {
    source.data.copy(target.data, ((top + row) * target.width + left) * 3, row * source.width * 3,
      row * source.width * 3 + bytes)
  }
}

/** Pictures of one size side by side, in as many rows as A1111's grid has: the rounded root of their number. */
export function arrangeGrid (pictures: readonly Picture[]): Picture {
  const [first] = pictures
  if (first === undefined) return createPicture(1, 1)
  const rows = Math.min(Math.round(Math.sqrt(pictures.length)), pictures.length)
  const columns = Math.ceil(pictures.length / rows)
  const grid = createPicture(columns * first.width, rows * first.height)
  for (const [index, picture] of pictures.entries()) {
    paste(grid, picture, (index % columns) * first.width, Math.floor(index / columns) * first.height)
  }
  return grid
}
