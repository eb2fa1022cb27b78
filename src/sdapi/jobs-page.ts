import type { failureEntry, publicEntry } from './words.ts'

type Entry = ReturnType<typeof publicEntry>
type Failure = ReturnType<typeof failureEntry>

/** Seconds after which the page loads itself anew. */
const reloadSeconds = 2

/** The status page of async-proxy: no script, every text escaped. */
export function renderJobsPage (jobs: readonly Entry[], failures: readonly Failure[]): string {
  const rows = jobs.map(({ uuid, status, progress, completed_at: completedAt }, index) =>
    row([String(index + 1), escaped(uuid), escaped(status), bar(progress), escaped(completedAt ?? '')]))
  const failed = failures.map(({ uuid, error }, index) => row([String(index + 1), escaped(uuid), escaped(error)]))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="${reloadSeconds}">
<title>Jobs</title>
</head>
<body>
<h1>Jobs</h1>
${table(['#', 'UUID', 'Status', 'Progress', 'Completed At'], rows)}
<h2>Last failures</h2>
${table(['#', 'UUID', 'Error'], failed)}
</body>
</html>
`
}

function table (heads: readonly string[], rows: readonly string[]): string {
  const head = heads.map(text => `<th scope="col">${text}</th>`).join('')
  return `<table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${rows.join('\n')}\n</tbody>\n</table>`
}

function row (cells: readonly string[]): string {
  return `<tr>${cells.map(cell => `<td>${cell}</td>`).join('')}</tr>`
}

function bar (progress: number): string {
  const percent = Math.round(progress * 100)
  return `<progress max="100" value="${percent}">${percent} %</progress> ${percent} %`
}

function escaped (text: string): string {
  return text.replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`)
}
