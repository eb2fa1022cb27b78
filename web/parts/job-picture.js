import { html } from '../lib/html.js'
import { thumbnailOf } from '../lib/images.js'
import { Icon } from './icon.js'

const icons = { failed: 'warning', pending: 'clock' }

/** The first image of a job, small; before there is one, what it is about. */
export function JobPicture ({ job }) {
  if (job.status === 'processing' && job.preview_url) {
    return html`<img src=${job.preview_url} alt="" decoding="async" />`
  }
  const picture = job.images.find(({ role }) => role === 'image')
  if (picture === undefined) return html`<${Icon} name=${icons[job.status] ?? 'image'} />`
  return html`
    <img src=${thumbnailOf(picture)} alt="" width=${picture.width} height=${picture.height} loading="lazy" decoding="async" />`
}
