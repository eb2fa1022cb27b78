export interface Picture {
  readonly url: string
  readonly mime?: string
  readonly width: number
  readonly height: number
}

/**
 * An image or a video.
 * @param props still: inside a button; a video plays there without sound and controls
 */
export function Medium ({ image, alt, still = false }: { image: Picture, alt: string, still?: boolean }) {
  const size = image.width > 0 ? { width: image.width, height: image.height } : {}
  if (!(image.mime ?? '').startsWith('video/')) return <img src={image.url} {...size} decoding='async' alt={alt} />
  return (
    <video
      src={image.url} {...size} aria-label={alt} loop muted={still} autoplay={still} controls={!still} playsinline
      preload='metadata'
    />
  )
}
