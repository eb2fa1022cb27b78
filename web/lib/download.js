/** Gives text to the browser as a file to keep. */
export function downloadText (name, text, type = 'application/json') {
  const url = URL.createObjectURL(new window.Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // The download has begun by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
