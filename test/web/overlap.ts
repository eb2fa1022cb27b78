import type { Page } from 'playwright-core'

/** Runs in the page: pairs of controls and texts that cover each other, and what sticks out of the window. */
const measure = `(() => {
  const shown = 'a[href], button, input, select, textarea, summary, h1, h2, h3, p, dt, dd, .status, .badge, .lane .facts > *'
  // They lie over other content on purpose: what is fixed to the window, and the checkbox on a picture.
  const above = '.pages, .skip, .submit, .selection, .messages, .tile-check, .out-of-sight, [aria-hidden=true]'
  const within = document.querySelector('dialog[open]') ?? document.querySelector('main')
  const box = element => {
    let { left, top, right, bottom } = element.getBoundingClientRect()
    for (let around = element.parentElement; around !== null && around !== document.documentElement; around = around.parentElement) {
      if (getComputedStyle(around).overflowX === 'visible') continue
      const clip = around.getBoundingClientRect()
      left = Math.max(left, clip.left); right = Math.min(right, clip.right)
      top = Math.max(top, clip.top); bottom = Math.min(bottom, clip.bottom)
    }
    return { left, top, right, bottom }
  }
  const found = [...within.querySelectorAll(shown)]
    .filter(element => !element.closest(above) && element.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true }))
    .map(element => ({ element, ...box(element) }))
    .filter(({ left, right, top, bottom }) => right - left > 1 && bottom - top > 1)
  const name = ({ element }) => element.tagName + ' ' + (element.getAttribute('aria-label') ?? element.textContent ?? '').slice(0, 40)
  const problems = found.filter(({ left, right }) => left < -1 || right > innerWidth + 1).map(one => name(one) + ' sticks out')
  for (const one of found) {
    const card = one.element.closest('.card, .lane, .job')?.getBoundingClientRect()
    if (card !== undefined && (one.left < card.left - 1 || one.right > card.right + 1)) problems.push(name(one) + ' sticks out of its card')
  }
  for (const [index, one] of found.entries()) {
    for (const other of found.slice(index + 1)) {
      if (one.element.contains(other.element) || other.element.contains(one.element)) continue
      const width = Math.min(one.right, other.right) - Math.max(one.left, other.left)
      const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top)
      if (width > 1.5 && height > 1.5) problems.push(name(one) + ' covers ' + name(other))
    }
  }
  if (found.length < 2) problems.push('nothing was measured')
  return problems
})()`

/** What covers something else in a page, or sticks out of it; measured from the boxes of controls and texts. */
export async function overlapsIn (page: Page): Promise<string[]> {
  return await page.evaluate(measure) as string[]
}
