import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import t from 'tap'
import { startService } from '../helper.ts'
import { tool } from './tool.ts'

const { path: packages, skip } = tool('clientGenerators')
const service = await startService(t)
const folder = mkdtempSync(join(tmpdir(), 'sq-clients-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const bin = (name: string) => join(packages, 'node_modules/.bin', name)
const body = '{ target_server_alias: \'default\', generation_params: { prompt: \'a lighthouse\', steps: 2, width: 64, height: 64 } }'

/** Each prints the size of the picture that it got; orval writes the address of the service into its code. */
const generators = [
  {
    name: 'openapi-typescript',
    command: [bin('openapi-typescript'), `${service.url}/openapi.json`, '-o', 'schema.ts'],
    program: `
      import createClient from 'openapi-fetch'
      import type { paths } from './schema'
      const client = createClient<paths>({ baseUrl: '${service.url}' })
      const { data: sent } = await client.POST('/api/v2/generate', { body: ${body} })
      const jobId = (sent as { id: string }).id
      const { data: ended } = await client.GET('/api/v2/jobs/{jobId}', { params: { path: { jobId }, query: { wait: 60 } } })
      const name = ended!.job.images[0]!.filename
      const { data } = await client.GET('/outputs/{name}', { params: { path: { name } }, parseAs: 'arrayBuffer' })
      console.log((data as ArrayBuffer).byteLength)`
  },
  {
    name: '@hey-api/openapi-ts',
    command: [bin('openapi-ts'), '-i', `${service.url}/openapi.json`, '-o', '.'],
    program: `
      import { client } from './client.gen'
      import { imagesGet, jobsGet, jobsSubmit } from './sdk.gen'
      client.setConfig({ baseUrl: '${service.url}' })
      const { data: sent } = await jobsSubmit({ body: ${body} })
      const jobId = (sent as { id: string }).id
      const { data: ended } = await jobsGet({ path: { jobId }, query: { wait: 60 } })
      const name = ended!.job.images[0]!.filename
      const { data } = await imagesGet({ path: { name }, parseAs: 'blob' })
      console.log((data as Blob).size)`
  },
  {
    name: 'orval',
    command: [bin('orval'), '--config', 'orval.config.cjs'],
    program: `
      import { jobsGet, jobsSubmit } from './sq'
      const sent = await jobsSubmit(${body})
      const jobId = (sent.data as { id: string }).id
      const ended = await jobsGet(jobId, { wait: 60 })
      if (ended.status !== 200) throw new Error(String(ended.status))
      const image = await fetch(new URL(ended.data.job.images[0]!.url, '${service.url}'))
      console.log((await image.arrayBuffer()).byteLength)`
  }
]

for (const { name, command, program } of generators) {
  t.test(`${name} makes a client that compiles, submits a job, waits for it and gets its picture`, { skip }, async t => {
    const at = join(folder, name.replaceAll(/\W/g, '-'))
    mkdirSync(at)
    symlinkSync(join(packages, 'node_modules'), join(at, 'node_modules'))
    writeFileSync(join(at, 'package.json'), '{"type":"module"}')
    writeFileSync(join(at, 'orval.config.cjs'), `module.exports = { sq: {
      input: '${service.url}/openapi.json', output: { target: './sq.ts', client: 'fetch', baseUrl: '${service.url}' } } }`)
    // Asynchronous, because the service answers in this process.
    const run = async (file: string, parameters: readonly string[]) =>
      (await promisify(execFile)(file, parameters, { cwd: at, timeout: 180_000 })).stdout
    const [generator = '', ...parameters] = command
    await run(generator, parameters)
    writeFileSync(join(at, 'main.ts'), program)
    await run(bin('tsc'), ['--strict', '--noEmit', '--skipLibCheck', '--target', 'es2022', '--module', 'esnext',
      '--moduleResolution', 'bundler', '--lib', 'es2023,dom,dom.iterable', 'main.ts'])
    await build({ absWorkingDir: at, entryPoints: ['main.ts'], outfile: 'main.mjs', bundle: true, platform: 'node', format: 'esm' })
    t.ok(Number(await run(process.execPath, ['main.mjs'])) > 100, 'the picture has bytes')
  })
}
