/**
 * The folders of the code, from the lowest to the highest: a folder imports only folders before it in this list.
 * `npm run lint` enforces this with the rules below, and `npm run map` draws the map of CONTRIBUTING.md from it.
 */
export const layers = [
  { folder: 'schemas', holds: 'what goes over the wire: TypeBox, one file a resource; validation, types and OpenAPI come from here' },
  { folder: 'src/lib', holds: 'what any folder can use: errors, JSON, deadlines, addresses, the one HTTP client' },
  { folder: 'src/egress', holds: 'the one way to addresses that callers chose' },
  { folder: 'src/config', holds: 'settings, and what operators change while the service runs' },
  { folder: 'src/redis', holds: 'connections, the loader of Lua scripts, the private Redis' },
  { folder: 'src/telemetry', holds: 'traces and counters' },
  { folder: 'src/access', holds: 'keys, sessions, trust, limits, secrets' },
  { folder: 'src/model-facts', holds: 'what files, servers and Civitai say of a model: base model, tags, trigger words' },
  { folder: 'src/fastapi', holds: 'how FastAPI and pydantic read bodies and word errors' },
  { folder: 'src/a1111', holds: 'how to talk to a server, and what its parameters and answers mean; kinds/ has one file a kind of server' },
  { folder: 'src/events', holds: 'the stream of events: log, bus, filters' },
  { folder: 'src/servers', holds: 'registry, lease, health, choice, options, exclusive calls' },
  { folder: 'src/media', holds: 'where images are kept, and how inputs are checked' },
  { folder: 'src/models', holds: 'the catalogue: what servers report and folders hold; scan, sidecars, Civitai, downloads' },
  { folder: 'src/jobs', holds: 'record, scripts, queue, submission, running one generation' },
  { folder: 'src/webhooks', holds: 'events of jobs to receivers: outbox, deliveries, signatures, endpoints' },
  { folder: 'src/server-check', holds: 'the thorough check of a server' },
  { folder: 'src/florence', holds: 'questions to Florence-2' },
  { folder: 'src/sdapi', holds: "A1111's own API in front of the queue" },
  { folder: 'src/bots', holds: 'bots and phones: users, sessions, presets, and what their requests become' },
  { folder: 'src/openai', holds: "OpenAI's images API in front of the queue" },
  { folder: 'src/simulator', holds: 'a server that behaves like A1111; only its command and tests import it' },
  { folder: 'queues', holds: 'when it runs: BullMQ queues and workers' },
  { folder: 'src/services', holds: 'the parts of a process, put together once' },
  { folder: 'plugins', holds: 'how it is reached: Fastify plugins, one folder an interface' },
  { folder: 'src/commands', holds: 'the command line: what talks to a running service, and what each command takes' },
  { folder: 'src/main', holds: 'the programs: app, worker, command line, doctor' }
]

const inside = folder => `^${folder}/`
const anyOf = folders => folders.map(inside).join('|')
const folders = layers.map(({ folder }) => folder)

/** A folder imports only folders before it in the list of layers. */
const oneDirection = folders.slice(0, -1).map((folder, index) => ({
  name: `${folder}-imports-downwards`,
  comment: `${folder} may import ${folders.slice(0, index).join(', ') || 'no other folder'}.`,
  severity: 'error',
  from: { path: inside(folder) },
  to: { path: anyOf(folders.slice(index + 1)) }
}))

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...oneDirection,
    {
      name: 'every-file-has-a-layer',
      comment: 'A new folder gets its place in the list of layers.',
      severity: 'error',
      from: { path: '^(src|queues|plugins|schemas)/', pathNot: [anyOf(folders), '^src/[^/]+\\.mjs$'] },
      to: {}
    },
    {
      name: 'no-circles',
      comment: 'Files do not import each other in a circle, types included.',
      severity: 'error',
      from: {},
      to: { circular: true }
    },
    {
      name: 'no-framework-below-main',
      comment: 'Fastify belongs to plugins/, BullMQ to queues/. The simulator is a server of its own.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(main|simulator)/' },
      to: { path: 'node_modules/(fastify|@fastify|fastify-plugin|bullmq|@bull-board)(/|$)' }
    },
    {
      name: 'only-the-command-imports-the-simulator',
      severity: 'error',
      from: { path: '^(src|queues|plugins|schemas)/', pathNot: '^src/(main|simulator)/' },
      to: { path: '^src/simulator/' }
    },
    {
      name: 'commands-load-quickly',
      comment: 'Commands of a running service import only types from schemas, and src/lib: they run in a small bundle.',
      severity: 'error',
      from: { path: '^src/commands/' },
      to: { path: '^(src|queues|plugins|schemas)/', pathNot: '^src/(commands|lib)/', dependencyTypesNot: ['type-only'] }
    },
    {
      name: 'production-imports-no-tests',
      severity: 'error',
      from: { path: '^(src|queues|plugins|schemas)/' },
      to: { path: '^(test|bench|examples)/' }
    },
    {
      name: 'nothing-unresolved',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true }
    }
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] }
  }
}
