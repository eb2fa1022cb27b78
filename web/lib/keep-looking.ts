/** How often a page asks whether the service is back, in milliseconds. */
const lookAgain = 3000

/** Calls `look` again and again, and when the network is back. @returns a function that ends it */
export function keepLooking (look: () => void): () => void {
  const timer = setInterval(look, lookAgain)
  window.addEventListener('online', look)
  return () => {
    clearInterval(timer)
    window.removeEventListener('online', look)
  }
}
