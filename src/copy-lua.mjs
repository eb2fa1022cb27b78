import { cpSync, existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Second step of `npm run build`: copies the Lua scripts next to the compiled modules that load them. */
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'))
// The image of Docker is built without bench and examples.
for (const folder of include.filter(name => existsSync(join(root, name)))) {
  for (const name of readdirSync(join(root, folder), { recursive: true })) {
    if (name.endsWith('.lua')) cpSync(join(root, folder, name), join(root, 'dist', folder, name))
  }
}
