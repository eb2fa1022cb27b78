import { readFileSync } from 'node:fs'
import semver from 'semver'
import t from 'tap'
import { inRepository } from './root.ts'

interface Package {
  readonly version?: string
  readonly engines?: { readonly node?: string }
}

const { packages } = JSON.parse(readFileSync(inRepository('package-lock.json'), 'utf8')) as {
  packages: Record<string, Package>
}
const own = packages[''] as Package
const oldest = semver.minVersion(own.engines?.node ?? '')?.version ?? ''

t.test('the documented oldest Node is 20.19', async t => {
  t.equal(oldest, '20.19.0')
})

t.test('npm start and npm test install no package that needs a newer Node than the service', async t => {
  const tooNew = Object.entries(packages)
    .filter(([, { engines }]) => !semver.satisfies(oldest, engines?.node ?? '*'))
    .map(([path, { version, engines }]) => `${path} ${version} wants Node ${engines?.node}`)

  t.same(tooNew, [])
})
