import { Transform } from 'node:stream'
import { Parser } from 'tap-parser'

/** The most lines of a failing file's own output in the report. */
const shownOutput = 40
/** Details of a failure that have a line of their own, or only repeat how tap started the file. */
const shownElsewhere = new Set([
  'at', 'diff', 'stack', 'source', 'stdio', 'cwd', 'externalID', 'command', 'args', 'jobId', 'tapCaught'
])

/**
 * Reads TAP, of one stream or of several processes, prints one line for each file and every failure with its location
 * and difference, and ends with `N passed, N failed`. A test is an innermost `t.test`; a file without any is one test.
 * Files that crash or exceed their time count as failed. Skipped tests are listed, and count as failures if CI is set.
 */
export default class Reporter extends Transform {
  constructor ({ CI } = process.env) {
    super()
    this.refusesSkips = Boolean(CI)
    this.passed = 0
    this.failed = 0
    this.skipped = []
    /** What files cost, as test/account.mjs measures it. */
    this.account = []
  }

  /** Reads the output of one of several processes. */
  parser () {
    const parser = new Parser()
    this.watch(parser)
    parser.on('bailout', reason => this.fail(['run'], { bailout: reason || 'no reason given' }))
    return parser
  }

  _transform (chunk, _encoding, done) {
    this.own ??= this.parser()
    this.own.write(chunk)
    done()
  }

  _flush (done) {
    this.own?.end()
    for (const line of this.skipped) this.say(`skipped: ${line}`)
    if (this.refusesSkips && this.skipped.length > 0) {
      this.say('Skipped tests are failures in CI.')
      this.failed += this.skipped.length
    }
    this.say(`${this.passed} passed, ${this.failed} failed`)
    done()
  }

  say (line) {
    this.push(`${line}\n`)
  }

  /** Follows one level of TAP: a run, a file, or a `t.test` inside it. */
  watch (parser, name, parent) {
    const path = parent === undefined ? [] : [...parent.path, name]
    const level = { path, parent, subtests: 0, ownFailures: 0, passed: 0, failed: 0, output: [] }
    let open
    parser.on('child', child => {
      level.subtests++
      open = this.watch(child, sourceOf(child.name), level)
    })
    parser.on('extra', line => level.output.push(line))
    parser.on('assert', result => {
      const closed = open
      open = undefined
      if (closed !== undefined) this.close(closed, result)
      else this.point(level, result)
    })
    return level
  }

  /** An assertion, or a skipped test. */
  point (level, result) {
    const path = [...level.path, result.name]
    if (result.skip || result.todo) return this.skip(path, result)
    if (level.parent === undefined) return result.ok ? this.count('passed') : this.fail(path, result.diag)
    if (result.ok) return
    level.ownFailures++
    this.describe(path, result.diag)
  }

  /** The end of a file or `t.test`. */
  close (level, result) {
    const { path, subtests, ownFailures, parent } = level
    if (result.skip || result.todo) this.skip(path, result)
    else if (result.ok && subtests === 0) this.count('passed', level)
    else if (ownFailures > 0) this.count('failed', level)
    else if (!result.ok && level.failed === 0) this.fail(path, result.diag, level)
    if (parent.parent !== undefined) return
    if (!result.ok) for (const line of level.output.slice(-shownOutput)) this.push(line)
    const count = level.passed + level.failed
    this.say(`${result.ok ? 'ok' : 'FAILED'} ${path[0]} (${count} ${count === 1 ? 'test' : 'tests'}, ${Math.round(result.time ?? 0)} ms)`)
  }

  /** Counts a test in the levels around it and in the whole run. */
  count (outcome, level) {
    this[outcome]++
    for (let around = level; around !== undefined; around = around.parent) around[outcome]++
  }

  skip (path, result) {
    const reason = [result.skip, result.todo].find(value => typeof value === 'string')
    this.skipped.push(`${path.join(' > ')}${reason ? ` (${reason})` : ''}`)
  }

  fail (path, details, level) {
    this.count('failed', level)
    this.describe(path, details)
  }

  describe (path, details) {
    this.say(`\nfailed: ${path.join(' > ')}`)
    const { at, diff, stack, source } = details ?? {}
    const rest = Object.entries(details ?? {}).filter(([name, value]) => !shownElsewhere.has(name) && value !== null)
    if (at?.fileName) this.say(`  at ${at.fileName}:${at.lineNumber}:${at.columnNumber}`)
    if (diff) this.say(indent(diff))
    else for (const [name, value] of rest) this.say(indent(`${name}: ${shown(value)}`))
    if (source) this.say(indent(source))
    if (stack) this.say(indent(stack))
    this.say('')
  }
}

/** Maps the path of a compiled test to its source file. */
function sourceOf (name) {
  return name.replace(/^dist\/(?:bundled-tests\/)?(test\/.*)\.js$/, '$1.ts')
}

function indent (text) {
  return String(text).trimEnd().replace(/^/gm, '    ')
}

/** Numbers in YAML may be bigints. */
function shown (value) {
  return JSON.stringify(value, (_name, part) => typeof part === 'bigint' ? String(part) : part)
}
