import t from 'tap'
import { readFile, writeFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { readEnvironment } from '../../src/config/sources.ts'
import { parseSettings, SettingsError } from '../../src/config/parse.ts'
import { renderEnvironmentExample, renderSettingsTable } from '../../src/config/write.ts'
import { Settings } from '../../src/config/settings.ts'
import { inRepository } from '../root.ts'

/** The errors of an environment, or an empty text. */
function problemsOf (environment: Record<string, string>): string {
  try {
    parseSettings(environment)
    return ''
  } catch (error) {
    if (error instanceof SettingsError) return error.message
    throw error
  }
}

t.test('without any setting every default applies', async t => {
  const config = parseSettings({})
  for (const [name, schema] of Object.entries(Settings.properties)) {
    t.same(Reflect.get(config, name), schema.default, name)
  }
  t.ok(Object.isFrozen(config))
})

t.test('text becomes the type of its setting', async t => {
  t.match(parseSettings({
    PORT: ' 8080 ',
    RETRY_BACKOFF_SECONDS: '0.5',
    DASHBOARD_READ_ONLY: 'OFF',
    UI_AUTH: 'token',
    LOG_LEVEL: '',
    PUBLIC_HOSTS: 'one.example, .two.example ,,',
    SERVERS: 'Big=http://user:p%40ss@10.0.0.5:7860'
  }), {
    PORT: 8080,
    RETRY_BACKOFF_SECONDS: 0.5,
    DASHBOARD_READ_ONLY: false,
    UI_AUTH: 'token',
    LOG_LEVEL: 'info',
    PUBLIC_HOSTS: ['one.example', '.two.example'],
    SERVERS: ['Big=http://user:p%40ss@10.0.0.5:7860']
  })
})

t.test('other programs\' name for the server\'s address is understood, ours has precedence', async t => {
  t.equal(parseSettings({ AUTOMATIC1111_API_BASE: 'http://a:1' }).A1111_URL, 'http://a:1')
  t.equal(parseSettings({ AUTOMATIC1111_API_BASE: 'http://a:1', A1111_URL: 'http://b:1' }).A1111_URL, 'http://b:1')
})

t.test('the error for a wrong value contains the value and the allowed ones', async t => {
  const expected: Array<[Record<string, string>, string]> = [
    [{ PORT: '70000' }, 'PORT is "70000", but must be a whole number from 0 to 65535'],
    [{ PORT: '80.5' }, 'PORT is "80.5", but must be a whole number from 0 to 65535'],
    [{ PORT: 'http' }, 'PORT is "http", but must be a whole number from 0 to 65535'],
    [{ RETRY_BACKOFF_SECONDS: '0' }, 'RETRY_BACKOFF_SECONDS is "0", but must be a number from 0.05 to 3600'],
    [{ RETRY_BACKOFF_SECONDS: 'Infinity' }, 'RETRY_BACKOFF_SECONDS is "Infinity", but must be a number from 0.05 to 3600'],
    [{ DASHBOARD_READ_ONLY: 'maybe' }, 'DASHBOARD_READ_ONLY is "maybe", but must be true or false'],
    [{ DASHBOARD_READ_ONLY: 'constructor' }, 'DASHBOARD_READ_ONLY is "constructor", but must be true or false'],
    [{ UI_AUTH: 'open' }, 'UI_AUTH is "open", but must be auto, token or none'],
    [{ PUBLIC_URL: 'example.org' }, 'PUBLIC_URL is "example.org", but must be empty or like https://queue.example.org'],
    [{ REDIS_PREFIX: 'a b' }, 'REDIS_PREFIX is "a b", but must be text like sq'],
    [{ MEDIA_URL: 'https://s3.example.org/bucket' }, 'MEDIA_URL is "https://s3.example.org/bucket", but must be empty or like s3://bucket/prefix'],
    [{ MEDIA_URL: 's3://bucket/a/../b' }, 'MEDIA_URL is "s3://bucket/a/../b", but must be empty or like s3://bucket/prefix'],
    [{ MEDIA_URL: 's3://bucket', S3_ACCESS_KEY_ID: 'a' }, 'S3_SECRET_ACCESS_KEY is empty, but MEDIA_URL needs both S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY'],
    [{ S3_ENDPOINT: 'http://127.0.0.1:9000' }, 'S3_ENDPOINT is set, but without MEDIA_URL no bucket is used; set MEDIA_URL to one, such as s3://bucket/prefix'],
    [{ MEDIA_REDIRECT: 'true' }, 'MEDIA_REDIRECT is set, but without MEDIA_URL no bucket is used; set MEDIA_URL to one, such as s3://bucket/prefix'],
    [{ UI_AUTH: 'none' }, 'UI_AUTH is "none", but then UI_TRUSTED_CIDRS must name the networks to trust, for example 172.16.0.0/12'],
    [{ TRUSTED_PROXIES: '10.0.0.0/8,10.0.0.0/33' }, 'TRUSTED_PROXIES has "10.0.0.0/33", but each must be like 172.16.0.0/12'],
    [{ UI_TRUSTED_CIDRS: 'fd00::/8,::1,lan' }, 'UI_TRUSTED_CIDRS has "lan", but each must be like 172.16.0.0/12'],
    [{ CORS_ORIGINS: 'http://a:1/' }, 'CORS_ORIGINS has "http://a:1/", but each must be an exact origin such as http://localhost:7860'],
    [{ SERVERS: 'A=http://a:1,A=http://b:1' }, 'SERVERS has "A" twice, but each alias must be another']
  ]
  for (const [environment, problem] of expected) t.equal(problemsOf(environment), problem)
})

t.test('all wrong values are named at once', async t => {
  t.equal(problemsOf({ PORT: 'x', UI_AUTH: 'y', QUEUE_LIMIT_PER_KEY: '0' }).split('\n').length, 3)
})

t.test('no message repeats a secret or a password', async t => {
  const secret = 'hunter2'
  const wrong = [
    { REDIS_URL: secret },
    { AUTH_TOKEN: secret },
    { A1111_URL: `user:${secret}@host:7860` },
    { PUBLIC_URL: `https://user:${secret}@host/?query` },
    { SERVERS: `Main=user:${secret}@host:7860` },
    { SERVERS: `Main=ftp://user:a/${secret}@host` },
    { SERVERS: `Main=http://user:${secret},more@host:7860` },
    { SERVERS: `Main=http://user:more,${secret}@host:7860` },
    { SERVERS: `http://user:${secret}@host:7860` }
  ]
  for (const environment of wrong) {
    const problems = problemsOf(environment)
    t.match(problems, new RegExp(`^${Object.keys(environment)[0]} `), 'the setting is named')
    t.notMatch(problems, secret)
  }
})

t.test('the environment has precedence over .env, which can be missing but must be readable', async t => {
  const folder = t.testdir({ '.env': '\uFEFFPORT=4000\nexport HOST="0.0.0.0" # all\n# LOG_LEVEL=debug\n' })
  const environment = readEnvironment(folder, { HOST: '10.0.0.1', HOME: '/root' })
  t.strictSame({ ...environment }, { PORT: '4000', HOST: '10.0.0.1', HOME: '/root' })
  t.strictSame(readEnvironment(t.testdir({ empty: {} }), { PORT: '1' }), { PORT: '1' })
  t.throws(() => readEnvironment(t.testdir({ '.env': {} }), {}), { name: 'SettingsError', message: /\.env cannot be read \(EISDIR/ })
})

t.test('.env.example contains every setting with its default; rewritten with --snapshot', async t => {
  const path = inRepository('.env.example')
  if (process.env.TAP_SNAPSHOT === '1') await writeFile(path, renderEnvironmentExample())
  const text = await readFile(path, 'utf8')
  t.equal(text, renderEnvironmentExample())
  t.same(parseEnv(text), {}, 'copying it changes nothing')
  const active = parseEnv(text.replace(/^#(?=[A-Z0-9_]+=)/gm, ''))
  t.same(Object.keys(active).sort(), Object.keys(Settings.properties).sort())
  t.same(parseSettings(active), parseSettings({}))
  for (const line of text.split('\n').filter(line => line.startsWith('# '))) t.ok(line.length <= 100, line)
})

t.test('the table in docs/settings.md equals the settings', async t => {
  const page = await readFile(inRepository('docs', 'settings.md'), 'utf8')
  const [, table] = /<!-- settings -->\n(.*?)\n<!-- \/settings -->/s.exec(page) ?? []
  t.equal(renderSettingsTable().split('\n').length, Object.keys(Settings.properties).length + 2)
  t.equal(table, renderSettingsTable())
})
