/** Offers text to the browser as a file to save. */
export function downloadText (name: string, text: string, type: string = 'application/json') {
  const url = URL.createObjectURL(new window.Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // By then the download has started.
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
