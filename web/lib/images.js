/** Where the small form of an output is. */
export function thumbnailOf (image) {
  return image.url
}
