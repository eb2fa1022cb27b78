import { html } from '../lib/html.js'

/**
 * An image or a video.
 * @param {{ image: { url: string, thumbnail_url?: string, mime?: string, width: number, height: number }, alt: string,
 *   still?: boolean }} props still: inside a button; a video plays there without sound and controls
 */
export function Medium ({ image, alt, still = false }) {
  const size = image.width > 0 ? { width: image.width, height: image.height } : {}
  if (!(image.mime ?? '').startsWith('video/')) return html`<img src=${image.url} ...${size} decoding="async" alt=${alt} />`
  return html`
    <video src=${image.url} ...${size} aria-label=${alt} loop muted=${still} autoplay=${still} controls=${!still} playsinline
      preload="metadata"></video>`
}
