import { html } from '../lib/html.js'
import { thumbnailOf } from '../lib/images.js'
import { Icon } from './icon.js'

const icons = { failed: 'warning', pending: 'clock' }

/** A preview can expire before the browser loads it; the next one replaces it. */
const hide = ({ currentTarget: image }) => { image.hidden = true }
const show = ({ currentTarget: image }) => { image.hidden = false }

/** The thumbnail of a job's first image; before that its preview or an icon. */
export function JobPicture ({ job }) {
  if (job.status === 'processing' && job.preview_url) {
    return html`<img src=${job.preview_url} alt="" decoding="async" onLoad=${show} onError=${hide} />`
  }
  const picture = job.images.find(({ role = 'image' }) => role === 'image')
  if (picture === undefined) return html`<${Icon} name=${icons[job.status] ?? 'image'} />`
  return html`
    <img src=${thumbnailOf(picture)} alt="" width=${picture.width || null} height=${picture.height || null} loading="lazy" decoding="async" />`
}
