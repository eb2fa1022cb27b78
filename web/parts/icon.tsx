/** Lines in a square of 24 by 24. */
const strokes = {
  queue: 'M4 6h16M4 12h16M4 18h9',
  create: 'M12 5v14M5 12h14',
  server: 'M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01',
  key: 'M14.5 9.5 21 3M18 6l2 2M15.5 8.5l2 2M12 15a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM11 12l3.5-3.5',
  gallery: 'M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z',
  models: 'M12 3 3.5 7.5v9L12 21l8.5-4.5v-9zM3.5 7.5 12 12l8.5-4.5M12 12v9',
  webhook: 'M12 8a3 3 0 1 0-3-3c0 1.2.7 2.2 1.6 2.7L7 14M17 21a3 3 0 1 0-2.6-4.5M7 20a3 3 0 1 0 0-6M17 15h-7M12 8l3.5 6',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M13 5v4M17 5v4M13 5h4v4h-4M7 15h4v4H7z',
  docs: 'M6 3h9l4 4v14H6zM15 3v4h4M9 12h7M9 16h7',
  chart: 'M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6',
  leave: 'M14 4H5v16h9M10 12h11M17 8l4 4-4 4',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  image: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01',
  close: 'M6 6l12 12M18 6 6 18',
  copy: 'M9 9h11v11H9zM15 9V4H4v11h5',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  back: 'M19 12H5M11 6l-6 6 6 6',
  again: 'M20 11a8 8 0 1 0-.7 4.5M20 4v7h-7',
  bolt: 'M13 3 5 14h6l-1 7 8-11h-6z',
  stop: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8 8l8 8',
  bin: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5',
  clock: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8v4l3 2',
  up: 'M12 19V5M6 11l6-6 6 6',
  down: 'M12 5v14M6 13l6 6 6-6',
  toEnd: 'M12 4v12M6 10l6 6 6-6M5 20h14',
  moon: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M19 5l-1.4 1.4M6.4 17.6 5 19',
  grip: 'M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01',
  play: 'M7 4l13 8-13 8z',
  pause: 'M8 5v14M16 5v14',
  left: 'M15 5l-7 7 7 7',
  right: 'M9 5l7 7-7 7',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5',
  pen: 'M4 20h4L20 8l-4-4L4 16zM13 7l4 4',
  plug: 'M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4',
  dice: 'M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01',
  warning: 'M12 4 3 20h18zM12 10v4M12 17h.01'
}

export type IconName = keyof typeof strokes

/** An icon beside a word; screen readers skip it. */
export function Icon ({ name }: { name: IconName }) {
  return <svg class='icon' viewBox='0 0 24 24' aria-hidden='true' focusable='false'><path d={strokes[name]} /></svg>
}

/** The sign of the service, as in web/icon.svg: inside the page, it needs no request. */
export function Sign ({ size }: { size: number }) {
  return (
    <svg viewBox='0 0 32 32' width={size} height={size} aria-hidden='true' focusable='false'>
      <rect width='32' height='32' rx='8' fill='#3d4fa8' />
      <rect x='7' y='8' width='18' height='4' rx='2' fill='#fff' />
      <rect x='7' y='14' width='18' height='4' rx='2' fill='#fff' opacity='.7' />
      <rect x='7' y='20' width='11' height='4' rx='2' fill='#fff' opacity='.45' />
    </svg>
  )
}
