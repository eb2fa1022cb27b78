import { html, render } from './lib/html.js'

const root = document.getElementById('app')
root.replaceChildren()
render(html`<main><h1>StableQueue</h1><p>See <a href="/docs">the API</a> and <a href="/dashboard">the queues</a>.</p></main>`, root)
