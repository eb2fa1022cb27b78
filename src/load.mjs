import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { PerformanceObserver } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import v8 from 'node:v8'
import vm from 'node:vm'

/**
 * Runs the bundled command line, which is one script. Compiling it takes a third of a start, so the compiled code is
 * kept beside it: that of a start contains all functions that a start runs. Node has such a cache of its own from
 * version 22.1 on, but not for Node 20.
 */

/** Commands whose processes live on; each runs other functions. */
const services = new Set(['start', 'api', 'worker'])
/** Time after the start at which it has looked at its servers, in milliseconds. */
const settledAfter = 2000
/**
 * An event loop that worked for less than this share of an interval, in milliseconds, has nothing urgent to do. Pauses
 * under load are shorter: after a collection of the garbage of the start, V8 compiles hot functions anew, which takes
 * half a second of processor time.
 */
const quiet = { share: 0.1, interval: 1000 }
/**
 * Sizes from which V8's young generation grows at most once more, in bytes; it would grow to 32 MiB. Under load, the
 * small one costs a quarter of the processor time.
 */
const youngGeneration = { idle: 4 * 1024 * 1024, busy: 16 * 1024 * 1024 }
/** Collections within less than this of each other mean load, and work, in milliseconds. */
const busyInterval = 500
const workInterval = 1000
/**
 * V8 optimizes a function after running a few times so many bytes of its bytecode; its own value is 67,584. At work,
 * sooner saves more than it costs: a service runs mostly code that waits for that in its first thousands of requests.
 * Later versions than that of Node 20 count calls, and have a quick compiler in between.
 */
const bytecodeToOptimize = { idle: 67_584, work: 16_896 }
const isOfNode20 = process.versions.v8.startsWith('11.')

/**
 * @param {string} path of the script, an expression of a function with the parameters of a CommonJS module
 * @param {string | undefined} command of the command line
 * @returns what the script exports, and a function to call at the end of the start. When the service is quiet after
 * that, it stores the compiled code unless it is stored already, and collects the garbage of the start: this stops it
 * for up to 100 ms.
 */
export function loadProgram (path, command) {
  setGrowth(1)
  collectAtWork(false)
  // Only ASCII: as Latin-1, Node keeps it outside of the heap.
  const source = readFileSync(path, 'latin1')
  const kind = services.has(command) ? command : 'start'
  const store = cacheOf(path, source, kind)
  // The build stores that of a start, which runs what the other services run.
  const known = store.read() ?? cacheOf(path, source, 'start').read()
  const script = new vm.Script(source, {
    filename: path, cachedData: known, importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
  })
  const isKnown = known !== undefined && script.cachedDataRejected === false
  mapStackTraces(path)
  const module = { exports: {} }
  const folder = dirname(path)
  const dist = pathToFileURL(join(folder, '..')).href + '/'
  script.runInThisContext()(module.exports, createRequire(path), module, path, folder, dist)
  const { resetOptions, expectLoad } = boundYoungGeneration()
  return {
    exports: module.exports,
    async settle () {
      await sleep(settledAfter, undefined, { ref: false })
      expectLoad()
      await becomeQuiet()
      if (!isKnown && services.has(command)) {
        // Compiled code fits the options of V8 with which it is stored.
        resetOptions()
        store.write(script.createCachedData())
      }
      collectGarbage()
    }
  }
}

/** Waits until the event loop has little to do; without keeping the process alive. */
async function becomeQuiet () {
  for (let share = 1; share > quiet.share;) {
    const before = performance.eventLoopUtilization()
    await sleep(quiet.interval, undefined, { ref: false })
    share = performance.eventLoopUtilization(before).utilization
  }
}

/**
 * The garbage of the start, which would stay for hours: an idle service allocates too little for V8 to look for it.
 * After Node 20, V8 keeps the empty pages, some 40 MiB, unless it collects as if memory had run out.
 */
function collectGarbage () {
  v8.setFlagsFromString('--expose-gc')
  v8.setFlagsFromString('--compact-on-every-full-gc')
  const collect = vm.runInNewContext('gc')
  if (isOfNode20) collect()
  else collect({ type: 'major', flavor: 'last-resort' })
  v8.setFlagsFromString('--no-compact-on-every-full-gc')
}

/** V8 doubles its young generation until it holds 32 MiB, and reads its limit only from the command line. */
function setGrowth (factor) {
  v8.setFlagsFromString(`--semi-space-growth-factor=${factor}`)
}

/**
 * How V8 collects old garbage. At work it does so in small steps, which keep pauses short, and the heap can double
 * until then: images pass through buffers of some MiB, for which V8 would otherwise collect five times a second, and
 * spend a third of the time on it. While small steps are allowed, V8 also collects an idle process three times within a
 * minute after each collection, for some 100 kB.
 */
function collectAtWork (works) {
  v8.setFlagsFromString(works ? '--incremental-marking' : '--no-incremental-marking')
  v8.setFlagsFromString(`--heap-growing-percent=${works ? 100 : 0}`)
}

function optimizeAtWork (works) {
  if (!isOfNode20) return
  v8.setFlagsFromString(`--interrupt-budget=${works ? bytecodeToOptimize.work : bytecodeToOptimize.idle}`)
}

/**
 * Keeps the young generation below its limits from now on; a start is no load, as its memory would stay. Returns a
 * function that sets V8's options as they were, and one for the end of the start.
 */
function boundYoungGeneration () {
  let factor = 1
  let last = 0
  let isStarting = true
  let works = false
  function setWork (now) {
    if (now === works) return
    works = now
    collectAtWork(works)
    optimizeAtWork(works)
  }
  function bound () {
    const now = performance.now()
    const pause = now - last
    last = now
    const limit = !isStarting && pause < busyInterval ? youngGeneration.busy : youngGeneration.idle
    setWork(!isStarting && pause < workInterval)
    const { space_size: size } = v8.getHeapSpaceStatistics().find(space => space.space_name === 'new_space')
    const wanted = size >= limit ? 1 : 2
    if (wanted !== factor) setGrowth(wanted)
    factor = wanted
  }
  bound()
  // V8 lets it grow after a collection, and shrinks it when the service is idle.
  new PerformanceObserver(bound).observe({ entryTypes: ['gc'] })
  return {
    resetOptions () {
      factor = 1
      setGrowth(1)
      setWork(false)
    },
    expectLoad () { isStarting = false }
  }
}

/** The file with the compiled code, which fits one version of V8, its options and the processor. */
function cacheOf (path, source, kind) {
  const folder = `${path}.cache`
  // The build begins the script with its hash; V8 itself compares only the length.
  const hash = source.slice('/*'.length, source.indexOf('*/'))
  const name = `${kind}-${v8.cachedDataVersionTag().toString(16)}-${hash}`
  return {
    read () {
      try {
        return readFileSync(join(folder, name))
      } catch {
        return undefined
      }
    },
    write (data) {
      try {
        mkdirSync(folder, { recursive: true })
        // Only one of several processes that start now leaves its file; none reads half a file.
        const draft = join(folder, `.${name}-${process.pid}`)
        writeFileSync(draft, data)
        renameSync(draft, join(folder, name))
        for (const other of readdirSync(folder)) {
          if (!other.endsWith(`-${hash}`)) rmSync(join(folder, other), { force: true })
        }
      } catch {
        // A folder that this user cannot write to: the next start compiles again.
      }
    }
  }
}

/** Lines of stack traces are those of the sources. The places are read when the first trace needs them. */
function mapStackTraces (path) {
  let placeOf
  Error.prepareStackTrace = (error, sites) => {
    const lines = sites.map(site => {
      const text = String(site)
      if (site.getFileName() !== path) return text
      placeOf ??= readPlaces(path)
      const [line, column] = [site.getLineNumber(), site.getColumnNumber()]
      const place = placeOf(line, column)
      return place === undefined ? text : text.replace(`${path}:${line}:${column}`, place)
    })
    return [titleOf(error), ...lines.map(line => `    at ${line}`)].join('\n')
  }
}

/** Written by `placesOf` of src/bundle.mjs. Errors come from few places again and again, and lines can be very long. */
function readPlaces (path) {
  let lines
  try {
    lines = readFileSync(`${path}.lines`, 'latin1').split('\n')
  } catch {
    return () => undefined
  }
  const sources = JSON.parse(lines[0])
  const known = new Map()

  function find (line, column) {
    const places = (lines[line] ?? '').split(',').map(place => place.split(' '))
    const [, source, original] = places.findLast(([begin]) => Number(begin) < column) ?? []
    if (source === undefined) return undefined
    return [join(dirname(path), sources[source]), ...original === undefined ? [] : [original]].join(':')
  }

  return (line, column) => {
    const position = `${line}:${column}`
    if (!known.has(position)) known.set(position, find(line, column))
    return known.get(position)
  }
}

function titleOf (error) {
  try {
    return Error.prototype.toString.call(error)
  } catch {
    return 'Error'
  }
}
