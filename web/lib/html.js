import { h, render } from '../vendor/preact.js'
import htm from '../vendor/htm.js'

export { render }
export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from '../vendor/hooks.js'

/** Markup as tagged templates. Values become text or properties, never markup. */
export const html = htm.bind(h)
