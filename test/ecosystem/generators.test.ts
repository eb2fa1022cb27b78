import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import t from 'tap'
import { readDocument } from '../api/document.ts'
import { startService } from '../helper.ts'
import { tool } from './tool.ts'

/** Generated code is large, and compiling it takes as long on a busy machine. */
const patience = 600_000

const typescript = tool('clientGenerators')
const python = tool('pythonGenerators')
const go = tool('go')
const oapiCodegen = tool('oapiCodegen')
const service = await startService(t)
const { operations } = readDocument(service.app)
const folder = mkdtempSync(join(tmpdir(), 'sq-clients-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const bin = (name: string) => join(typescript.path, 'node_modules/.bin', name)
const documentUrl = `${service.url}/openapi.json`
const body = '{ target_server_alias: \'default\', generation_params: { prompt: \'a lighthouse\', steps: 2, width: 64, height: 64 } }'

/** Asynchronous, because the service answers in this process. */
async function run (cwd: string, program: string, parameters: readonly string[], environment = {}): Promise<string> {
  // openapi-python-client formats with ruff, and Go keeps what it has compiled of packages of others.
  const PATH = [python.path === '' ? '' : dirname(python.path), process.env.PATH].filter(Boolean).join(delimiter)
  const { stdout } = await promisify(execFile)(program, parameters, {
    cwd, timeout: patience, maxBuffer: 64 * 1024 * 1024, env: { ...process.env, PATH, GOFLAGS: '-mod=mod', ...environment }
  })
  return stdout
}

const openapiGenerator = (name: string, ...options: string[]) =>
  [python.path, '-c', 'from openapi_generator_cli import cli; cli()', 'generate', '-g', name, '-i', documentUrl, '-o', '.', ...options]

interface Generator {
  readonly name: string
  readonly skip: string | false
  readonly command: readonly string[]
  /** Files of the generated code that have operations, and how to find the name of each. */
  readonly names: readonly [files: RegExp, name: RegExp]
  /** Prints the size of the picture that it got. Some generators write the address of the service into their code. */
  readonly program: string
  /** Compiles the program with the generated code, and runs it. */
  readonly compile: (at: string, program: string) => Promise<string>
}

const generators: readonly Generator[] = [
  {
    name: 'openapi-typescript',
    skip: typescript.skip,
    command: [bin('openapi-typescript'), documentUrl, '-o', 'schema.ts'],
    names: [/^schema\.ts$/, /^ {4}"?([\w.]+)"?: \{$/gm],
    program: `
      import createClient from 'openapi-fetch'
      import type { paths } from './schema'
      const client = createClient<paths>({ baseUrl: '${service.url}' })
      const { data: sent } = await client.POST('/api/v2/generate', { body: ${body} })
      const jobId = (sent as { id: string }).id
      const { data: ended } = await client.GET('/api/v2/jobs/{jobId}', { params: { path: { jobId }, query: { wait: 60 } } })
      const name = ended!.job.images[0]!.filename
      const { data } = await client.GET('/outputs/{name}', { params: { path: { name } }, parseAs: 'arrayBuffer' })
      console.log((data as ArrayBuffer).byteLength)`,
    compile: runTypescript
  },
  {
    name: '@hey-api/openapi-ts',
    skip: typescript.skip,
    command: [bin('openapi-ts'), '-i', documentUrl, '-o', '.'],
    names: [/^sdk\.gen\.ts$/, /^export const (\w+) = </gm],
    program: `
      import { client } from './client.gen'
      import { imagesGet, jobsGet, jobsSubmit } from './sdk.gen'
      client.setConfig({ baseUrl: '${service.url}' })
      const { data: sent } = await jobsSubmit({ body: ${body} })
      const jobId = (sent as { id: string }).id
      const { data: ended } = await jobsGet({ path: { jobId }, query: { wait: 60 } })
      const name = ended!.job.images[0]!.filename
      const { data } = await imagesGet({ path: { name }, parseAs: 'blob' })
      console.log((data as Blob).size)`,
    compile: runTypescript
  },
  {
    name: 'orval',
    skip: typescript.skip,
    command: [bin('orval'), '--config', 'orval.config.cjs'],
    names: [/^sq\.ts$/, /^export const (\w+) = async/gm],
    program: `
      import { jobsGet, jobsSubmit } from './sq'
      const sent = await jobsSubmit(${body})
      const jobId = (sent.data as { id: string }).id
      const ended = await jobsGet(jobId, { wait: 60 })
      if (ended.status !== 200) throw new Error(String(ended.status))
      const image = await fetch(new URL(ended.data.job.images[0]!.url, '${service.url}'))
      console.log((await image.arrayBuffer()).byteLength)`,
    compile: runTypescript
  },
  {
    name: 'openapi-generator typescript-fetch',
    skip: python.skip || typescript.skip,
    command: openapiGenerator('typescript-fetch'),
    names: [/^apis\/.*\.ts$/, /^ {4}async (\w+)\(/gm],
    program: `
      import { Configuration, ImagesApi, JobsApi, type GenerateAnswer } from './index'
      const configuration = new Configuration({ basePath: '${service.url}' })
      const jobs = new JobsApi(configuration)
      const sent = await jobs.jobsSubmit({
        generateRequest: { generationParams: { prompt: 'a lighthouse', steps: 2, width: 64, height: 64 } }
      })
      const ended = await jobs.jobsGet({ jobId: (sent as GenerateAnswer).id, wait: 60 })
      const image = await new ImagesApi(configuration).imagesGet({ name: ended.job.images[0]!.filename })
      console.log(image.size)`,
    compile: runTypescript
  },
  {
    name: 'openapi-generator python',
    skip: python.skip,
    command: openapiGenerator('python', '--additional-properties=packageName=sq'),
    names: [/^sq\/api\/.*\.py$/, /^ {4}def (\w+)\($/gm],
    program: `
import sq
from sq.models import GenerateAnswer, GenerateRequest, GenerationParameters

with sq.ApiClient(sq.Configuration(host='${service.url}')) as client:
    jobs = sq.JobsApi(client)
    parameters = GenerationParameters(prompt='a lighthouse', steps=2, width=64, height=64)
    sent = jobs.jobs_submit(GenerateRequest(generation_params=parameters))
    assert isinstance(sent, GenerateAnswer)
    ended = jobs.jobs_get(sent.id, wait=60)
    print(len(sq.ImagesApi(client).images_get(ended.job.images[0].filename)))`,
    compile: runPython
  },
  {
    name: 'openapi-python-client',
    skip: python.skip,
    command: [python.path, '-m', 'openapi_python_client', 'generate', '--url', documentUrl, '--meta', 'none', '--output-path', 'sq'],
    names: [/^sq\/api\/.*\.py$/, /([a-z0-9_]+)\.py$/g],
    program: `
import httpx
from sq import Client
from sq.api.images import images_get
from sq.api.jobs import jobs_get, jobs_submit
from sq.models import GenerateAnswer, GenerateRequest, GenerationParameters, JobAnswer
from sq.types import File

client = Client(base_url='${service.url}', timeout=httpx.Timeout(90))
parameters = GenerationParameters(prompt='a lighthouse', steps=2, width=64, height=64)
sent = jobs_submit.sync(client=client, body=GenerateRequest(generation_params=parameters))
assert isinstance(sent, GenerateAnswer)
ended = jobs_get.sync(sent.id, client=client, wait=60)
assert isinstance(ended, JobAnswer)
picture = images_get.sync(ended.job.images[0].filename, client=client)
assert isinstance(picture, File)
print(len(picture.payload.read()))`,
    compile: runPython
  },
  {
    name: 'openapi-generator go',
    skip: python.skip || go.skip,
    command: openapiGenerator('go', '--additional-properties=packageName=sq', '--git-user-id=sq', '--git-repo-id=sq'),
    names: [/^api_.*\.go$/, /^func \(a \*\w+Service\) (\w+)\(/gm],
    program: goProgram('github.com/sq/sq', `
      configuration := sq.NewConfiguration()
      configuration.Servers = sq.ServerConfigurations{{URL: "${service.url}"}}
      client := sq.NewAPIClient(configuration)
      parameters := sq.NewGenerationParameters()
      parameters.SetPrompt("a lighthouse")
      parameters.SetSteps(2)
      parameters.SetWidth(64)
      parameters.SetHeight(64)
      request := sq.NewGenerateRequest()
      request.SetGenerationParams(*parameters)
      sent, _, err := client.JobsAPI.JobsSubmit(ctx).GenerateRequest(*request).Execute()
      check(err)
      ended, _, err := client.JobsAPI.JobsGet(ctx, sent.GenerateAnswer.Id).Wait(60).Execute()
      check(err)
      picture, _, err := client.ImagesAPI.ImagesGet(ctx, ended.Job.Images[0].Filename).Execute()
      check(err)
      information, err := picture.Stat()
      check(err)
      fmt.Println(information.Size())`),
    compile: runGo
  },
  {
    name: 'oapi-codegen',
    skip: oapiCodegen.skip || go.skip,
    command: [oapiCodegen.path, '-package', 'sq', '-generate', 'types,client', '-o', 'sq.go', 'openapi.json'],
    names: [/^sq\.go$/, /^func \(c \*ClientWithResponses\) (\w+?)(?:WithBody)?WithResponse\(/gm],
    program: goProgram('sq', `
      client, err := sq.NewClientWithResponses("${service.url}")
      check(err)
      prompt, steps, size, wait := "a lighthouse", int64(2), int64(64), 60
      sent, err := client.JobsSubmitWithResponse(ctx, nil, sq.GenerateRequest{
        GenerationParams: &sq.GenerationParameters{Prompt: &prompt, Steps: &steps, Width: &size, Height: &size}})
      check(err)
      ended, err := client.JobsGetWithResponse(ctx, sent.JSON202.Id, &sq.JobsGetParams{Wait: &wait})
      check(err)
      picture, err := client.ImagesGetWithResponse(ctx, ended.JSON200.Job.Images[0].Filename, nil)
      check(err)
      fmt.Println(len(picture.Body))`),
    compile: runGo
  }
]

async function runTypescript (at: string, program: string): Promise<string> {
  writeFileSync(join(at, 'main.ts'), program)
  await run(at, bin('tsc'), ['--strict', '--noEmit', '--skipLibCheck', '--target', 'es2022', '--module', 'esnext',
    '--moduleResolution', 'bundler', '--lib', 'es2023,dom,dom.iterable', 'main.ts'])
  await build({ absWorkingDir: at, entryPoints: ['main.ts'], outfile: 'main.mjs', bundle: true, platform: 'node', format: 'esm' })
  return await run(at, process.execPath, ['main.mjs'])
}

async function runPython (at: string, program: string): Promise<string> {
  writeFileSync(join(at, 'main.py'), program)
  await run(at, python.path, ['-m', 'mypy', '--no-incremental', 'sq', 'main.py'])
  return await run(at, python.path, ['main.py'])
}

function goProgram (client: string, statements: string): string {
  return `
    package main
    import ("context"; "fmt"; sq "${client}")
    func check(err error) { if err != nil { panic(err) } }
    func main() {
      ctx := context.Background()
      ${statements}
    }`
}

async function runGo (at: string, program: string): Promise<string> {
  mkdirSync(join(at, 'main'))
  writeFileSync(join(at, 'main/main.go'), program)
  await run(at, go.path, ['build', '-trimpath', '-o', 'run', './main'])
  return await run(at, join(at, 'run'), [])
}

/** How generators write a name, whatever the casing of their language. */
const plain = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

/** Names of the operations in generated code. */
function operationsIn (at: string, [files, name]: Generator['names']): ReadonlySet<string> {
  const paths = readdirSync(at, { recursive: true }).map(String).filter(path => !path.startsWith('node_modules') && files.test(path))
  const text = paths.map(path => `${path}\n${readFileSync(join(at, path), 'utf8')}`).join('\n')
  return new Set([...text.matchAll(new RegExp(name, 'gm'))].map(([, found = '']) => plain(found)))
}

for (const { name, skip, command, names, program, compile } of generators) {
  const title = `${name} makes a client with all operations that compiles, submits a job, waits for it and gets its picture`
  t.test(title, { skip }, async t => {
    const at = join(folder, name.replaceAll(/\W/g, '-'))
    mkdirSync(at)
    if (compile === runTypescript) symlinkSync(join(typescript.path, 'node_modules'), join(at, 'node_modules'))
    writeFileSync(join(at, 'package.json'), '{"type":"module"}')
    writeFileSync(join(at, 'orval.config.cjs'), `module.exports = { sq: {
      input: '${documentUrl}', output: { target: './sq.ts', client: 'fetch', baseUrl: '${service.url}' } } }`)
    if (name === 'oapi-codegen') {
      writeFileSync(join(at, 'openapi.json'), JSON.stringify(service.app.swagger()))
      writeFileSync(join(at, 'go.mod'), 'module sq\n\ngo 1.24\n\nrequire github.com/oapi-codegen/runtime v1.9.0\n')
    }
    const [generator = '', ...parameters] = command
    await run(at, generator, parameters)
    const generated = operationsIn(at, names)
    const dropped = operations.map(({ operationId = '' }) => operationId).filter(id => !generated.has(plain(id)))
    t.same(dropped, [], 'no operation is dropped')
    t.ok(Number(await compile(at, program)) > 100, 'the picture has bytes')
  })
}
