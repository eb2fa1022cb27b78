import t from 'tap'
import { parseSimulatorArguments, simulatorHelp } from '../../src/simulator/settings.ts'

t.test('flags become options', async t => {
  t.match(parseSimulatorArguments([]), { port: 7860, internalProgress: true, controlNet: true, flavor: undefined })
  t.match(parseSimulatorArguments([
    '--port', '0', '--host', '::1', '--flavor=forge', '--speed', '4', '--checkpoints', 'a.safetensors, sub/b',
    '--load-time', '1.5', '--auth', 'u:p', '--no-internal-progress', '--no-controlnet', '--fault-seed', '9',
    '--faults', 'nan;probability=0.1;sticky, slow;factor=3'
  ]), {
    port: 0,
    host: '::1',
    flavor: 'forge',
    speed: 4,
    checkpoints: ['a.safetensors', 'sub/b.safetensors'],
    loadMilliseconds: 1500,
    auth: 'u:p',
    internalProgress: false,
    controlNet: false,
    faultSeed: 9,
    faults: [{ kind: 'nan', probability: 0.1, sticky: true }, { kind: 'slow', factor: 3 }]
  })
  t.equal(parseSimulatorArguments(['--help']).help, true)
  const values = { '--auth': 'u:p', '--flavor': 'a1111', '--faults': 'nan' }
  for (const [flag] of simulatorHelp.matchAll(/--[a-z-]+/g)) {
    if (flag === '--nowebui' || flag === '--api-auth' || flag === '--help') continue
    t.doesNotThrow(() => {
      parseSimulatorArguments(/--no-/.test(flag) ? [flag] : [flag, Reflect.get(values, flag) ?? '1'])
    }, flag)
  }
})

t.test('wrong flags are rejected with a sentence', async t => {
  const cases: ReadonlyArray<[argv: string[], sentence: RegExp]> = [
    [['--port', '99999'], /--port is a whole number from 0 to 65535, not "99999"/],
    [['--port', 'x'], /--port is a whole number/],
    [['--speed', '0'], /--speed is a number of at least 0\.01, not "0"/],
    [['--flavor', 'comfy'], /--flavor is one of a1111, forge, .*sdnext, sdcpp, not "comfy"/],
    [['--auth', 'user'], /--auth is "user:password"/],
    [['--checkpoints', ' , '], /--checkpoints is a list of file names/],
    [['--faults', 'flood'], /There is no fault "flood"/],
    [['--sped', '2'], /Unknown option '--sped'/]
  ]
  for (const [argv, sentence] of cases) t.throws(() => parseSimulatorArguments(argv), sentence)
})
