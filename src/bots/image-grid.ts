import type { OverlayOptions } from 'sharp'
import type { Job } from '../jobs/job.ts'
import sharp from '../lib/sharp.ts'
import { type MediaStore, wholeOutput } from '../media/store.ts'
import type { Batch } from './batches.ts'
import { resultImages } from './job-view.ts'

/** Longest side of one image in the grid, and of the whole grid, in pixels. */
const longestCell = 512
const longestGrid = 8192
const gap = 8
const labelHeight = 28
/** Space for a label beside its neighbours' labels, also under smaller images. */
const labelWidth = 160

interface Cell {
  readonly label: string
  /** Name of the image; null while there is none. */
  readonly image: string | null
}

/** The first image of each job of a batch, side by side in the order of its axes, each with its label; PNG. */
export async function composeGrid (
  batch: Batch, jobs: ReadonlyArray<Job | null>, media: Pick<MediaStore, 'openOutput'>
): Promise<Buffer> {
  const cells = batch.cells.map(({ label }, index): Cell => ({ label, image: firstImage(jobs[index] ?? null) }))
  const columns = batch.axes[0]?.values.length ?? Math.ceil(Math.sqrt(cells.length))
  const rows = Math.ceil(cells.length / columns)
  const { width, height } = cellSize(jobs, columns, rows)
  const columnWidth = Math.max(width, Math.min(labelWidth, Math.floor(longestGrid / columns) - gap))
  const overlays: OverlayOptions[] = []
  for (const [index, cell] of cells.entries()) {
    const left = gap + index % columns * (columnWidth + gap)
    const top = gap + Math.floor(index / columns) * (height + labelHeight + gap)
    overlays.push({ input: await cellImage(cell, width, height, media), left, top })
    const text = await label(cell.label, columnWidth)
    if (text !== null) overlays.push({ input: text, left, top: top + height + 4 })
  }
  return await sharp({
    create: {
      width: columns * (columnWidth + gap) + gap,
      height: rows * (height + labelHeight + gap) + gap,
      channels: 3,
      background: '#fff'
    }
  }).composite(overlays).png().toBuffer()
}

function firstImage (job: Job | null): string | null {
  return job?.status === 'completed' ? resultImages(job)[0]?.name ?? null : null
}

/** As large as the largest image, within the limits of cell and grid. */
function cellSize (jobs: ReadonlyArray<Job | null>, columns: number, rows: number) {
  const images = jobs.flatMap(job => job === null ? [] : resultImages(job).slice(0, 1))
  const own = {
    width: Math.max(64, ...images.map(image => image.width)),
    height: Math.max(64, ...images.map(image => image.height))
  }
  const scale = Math.min(
    1, longestCell / Math.max(own.width, own.height),
    (longestGrid / columns - gap) / own.width, (longestGrid / rows - gap - labelHeight) / own.height)
  return { width: Math.max(16, Math.round(own.width * scale)), height: Math.max(16, Math.round(own.height * scale)) }
}

async function cellImage (
  { image }: Cell, width: number, height: number, media: Pick<MediaStore, 'openOutput'>
): Promise<Buffer> {
  const empty = sharp({ create: { width, height, channels: 3, background: '#ccc' } })
  if (image === null) return await empty.png().toBuffer()
  return await sharp(await wholeOutput(media, image))
    .resize(width, height, { fit: 'contain', background: '#fff' }).flatten({ background: '#fff' }).png().toBuffer()
}

/** The text in one line, or smaller if it does not fit; null if there is no text. */
async function label (text: string, width: number): Promise<Buffer | null> {
  if (text.trim() === '') return null
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const written = { text: `<span foreground="#222">${escaped}</span>`, font: 'DejaVu Sans 10', rgba: true }
  const height = labelHeight - 4
  const line = await sharp({ text: { ...written, dpi: 96 } }).png().toBuffer({ resolveWithObject: true })
  if (line.info.width <= width && line.info.height <= height) return line.data
  return await sharp({ text: { ...written, width, height, wrap: 'word-char' } })
    .resize(width, height, { fit: 'inside', withoutEnlargement: true }).png().toBuffer()
}
