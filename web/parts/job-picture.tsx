import type { IconName } from './icon.tsx'
import type { ListedJob } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { thumbnailOf } from '../lib/images.ts'
import { Icon } from './icon.tsx'
import { Preview } from './preview.tsx'
import { t } from '../texts/en/queue.ts'

const icons: Readonly<Record<string, IconName>> = { failed: 'warning', pending: 'clock' }

/** The thumbnail of a job's first image; before that its preview or an icon. */
export function JobPicture ({ job }: { job: Pick<ListedJob, 'status' | 'preview_url' | 'images'> }) {
  const { see_images: sees } = useRights()
  if (!sees && (job.images.length > 0 || job.preview_url)) {
    return <span class='picture-hidden' title={t.imagesNotAllowed}><Icon name='image' /></span>
  }
  if (job.status === 'processing' && job.preview_url) {
    return <Preview src={job.preview_url} alt=''><Icon name='image' /></Preview>
  }
  const picture = job.images.find(({ role = 'image' }) => role === 'image')
  if (picture === undefined) return <Icon name={icons[job.status] ?? 'image'} />
  return <Thumbnail key={picture.url} picture={picture} />
}

function Thumbnail ({ picture }: { picture: ListedJob['images'][number] }) {
  const [isBroken, setBroken] = useState(false)
  if (isBroken) return <Icon name='image' />
  return (
    <img
      src={thumbnailOf(picture)} alt='' width={picture.width || undefined}
      height={picture.height || undefined} loading='lazy' decoding='async' onError={() => setBroken(true)}
    />
  )
}
