import { parse, type Expression, type Node, type Statement } from 'luaparse'

/** The globals of Redis for scripts, as far as we use them. */
const globals = new Set([
  'KEYS', 'ARGV', 'redis', 'cjson', 'string', 'table', 'math', 'unpack', 'ipairs', 'pairs', 'next', 'tonumber', 'tostring',
  'type', 'error', 'pcall', 'cmsgpack'
])

/** How a script reads `KEYS` or `ARGV`. */
interface Reads {
  readonly single: Set<number>
  /** The index from which it reads all; infinity if it does not. */
  restFrom: number
  /** Whether it reads computed indexes. */
  computed: boolean
}

interface Variable {
  readonly name: string
  readonly line: number
  readonly isTopLevel: boolean
  uses: number
}

export interface LuaCheck {
  readonly problems: string[]
  /** Names that are declared outside functions, and how often each is used. */
  readonly topLevel: ReadonlyMap<string, number>
}

/**
 * Finds undeclared globals, unused and doubly declared locals, and a header whose keys, arguments or answers differ
 * from the script's.
 * @param lua with its includes inserted
 * @param shared names that includes declare and that a script need not use
 */
export function checkLua (lua: string, shared: ReadonlySet<string> = new Set()): LuaCheck {
  const problems: string[] = []
  const all: Variable[] = []
  const reads = { KEYS: newReads(), ARGV: newReads() }
  let answers = false
  let depth = 0
  let functions = 0
  let scope = new Map<string, Variable>()
  const scopes = [scope]

  function inScope (work: () => void): void {
    const outer = scope
    scope = new Map()
    scopes.push(scope)
    depth++
    work()
    depth--
    scopes.pop()
    scope = outer
  }

  function declare (name: string, line: number): void {
    if (name === '_') return
    if (scope.has(name)) problems.push(`line ${line}: ${name} is declared twice`)
    const variable = { name, line, isTopLevel: depth === 0, uses: 0 }
    scope.set(name, variable)
    all.push(variable)
  }

  const known = (name: string) => scopes.findLast(some => some.has(name))?.get(name)

  /** What Redis gives the script, unless it is a parameter of this name. */
  function listOf (node: Node): 'KEYS' | 'ARGV' | null {
    if (node.type !== 'Identifier' || known(node.name) !== undefined) return null
    return node.name === 'KEYS' || node.name === 'ARGV' ? node.name : null
  }

  function unpackedList (node: Node): 'KEYS' | 'ARGV' | null {
    if (node.type !== 'CallExpression' || node.base.type !== 'Identifier' || node.base.name !== 'unpack') return null
    const [first] = node.arguments
    return first === undefined ? null : listOf(first)
  }

  function visitAll (nodes: readonly Node[]): void {
    for (const node of nodes) visit(node)
  }

  function block (nodes: readonly Statement[], ...names: string[]): void {
    inScope(() => {
      for (const name of names) declare(name, lineOf(nodes[0]))
      visitAll(nodes)
    })
  }

  function visit (node: Node): void {
    const line = lineOf(node)
    switch (node.type) {
      case 'Identifier': {
        const variable = known(node.name)
        if (variable !== undefined) variable.uses++
        else if (!globals.has(node.name)) problems.push(`line ${line}: ${node.name} is not declared`)
        if (listOf(node) !== null) problems.push(`line ${line}: ${node.name} is handed on whole`)
        return
      }
      case 'LocalStatement': {
        const [last] = node.init.slice(-1)
        const list = last === undefined ? null : unpackedList(last)
        if (last === undefined || list === null) visitAll(node.init)
        else {
          visitAll(node.init.slice(0, -1))
          noteUnpack(last, node.variables.length - node.init.length + 1)
        }
        for (const { name } of node.variables) declare(name, line)
        return
      }
      case 'AssignmentStatement':
        visitAll(node.init)
        for (const target of node.variables) {
          if (target.type !== 'Identifier') visit(target)
          else if (known(target.name) === undefined) problems.push(`line ${line}: ${target.name} is set but not declared`)
        }
        return
      case 'FunctionDeclaration':
        if (node.identifier?.type === 'Identifier') {
          if (node.isLocal) declare(node.identifier.name, line)
          else problems.push(`line ${line}: function ${node.identifier.name} is not local`)
        }
        functions++
        block(node.body, ...node.parameters.flatMap(parameter => parameter.type === 'Identifier' ? [parameter.name] : []))
        functions--
        return
      case 'ForNumericStatement':
        visitAll([node.start, node.end, ...(node.step === null ? [] : [node.step])])
        block(node.body, node.variable.name)
        return
      case 'ForGenericStatement':
        visitAll(node.iterators)
        block(node.body, ...node.variables.map(({ name }) => name))
        return
      case 'ReturnStatement':
        if (functions === 0 && node.arguments.length > 0) answers = true
        visitAll(node.arguments)
        return
      case 'MemberExpression':
        visit(node.base)
        return
      case 'TableKeyString':
        visit(node.value)
        return
      case 'IndexExpression': {
        const list = listOf(node.base)
        if (list === null) visit(node.base)
        else if (node.index.type === 'NumericLiteral') reads[list].single.add(node.index.value)
        else reads[list].computed = true
        visit(node.index)
        return
      }
      case 'UnaryExpression': {
        const list = node.operator === '#' ? listOf(node.argument) : null
        if (list === null) visit(node.argument)
        else reads[list].computed = true
        return
      }
      case 'CallExpression':
        if (unpackedList(node) === null) visitAll([node.base, ...node.arguments])
        else noteUnpack(node, Infinity)
        return
      case 'IfStatement':
        for (const clause of node.clauses) {
          if (clause.type !== 'ElseClause') visit(clause.condition)
          block(clause.body)
        }
        return
      case 'WhileStatement':
        visit(node.condition)
        block(node.body)
        return
      case 'RepeatStatement':
        inScope(() => { visitAll([...node.body, node.condition]) })
        return
      case 'DoStatement':
        block(node.body)
        return
      default:
        for (const value of Object.values(node)) visitAll([value].flat().filter(isNode))
    }
  }

  /** `unpack(ARGV, from, to)`, of which this many values are used. */
  function noteUnpack (call: Expression, used: number): void {
    const list = unpackedList(call)
    if (list === null || call.type !== 'CallExpression') return
    const [start, end] = call.arguments.slice(1)
    const [from, to] = [start, end].map(bound => bound?.type === 'NumericLiteral' ? bound.value : bound && null)
    visitAll(call.arguments.slice(1))
    if (from === null || to === null) {
      reads[list].computed = true
      // A repeated group of arguments: the header lists its first occurrence, which begins at 1.
      const offset = start === undefined || used === Infinity ? null : offsetOf(start)
      if (offset !== null) for (let at = 1; at <= used; at++) reads[list].single.add(offset + at)
    } else if (used === Infinity && to === undefined) reads[list].restFrom = Math.min(reads[list].restFrom, from ?? 1)
    else {
      const first = from ?? 1
      for (let at = first; at <= Math.min(to ?? Infinity, first + used - 1); at++) reads[list].single.add(at)
    }
  }

  visitAll(parse(lua, { luaVersion: '5.1', comments: false, locations: true }).body)
  for (const { name, line, isTopLevel, uses } of all) {
    if (uses === 0 && !(isTopLevel && shared.has(name))) problems.push(`line ${line}: ${name} is not used`)
  }
  return {
    problems: [...problems, ...headerProblems(lua, reads, answers)],
    topLevel: new Map(all.filter(({ isTopLevel }) => isTopLevel).map(({ name, uses }) => [name, uses]))
  }
}

/** 0 for a variable, n for a variable + n. */
function offsetOf (bound: Expression): number | null {
  if (bound.type === 'Identifier') return 0
  const isSum = bound.type === 'BinaryExpression' && bound.operator === '+' && bound.left.type === 'Identifier'
  return isSum && bound.right.type === 'NumericLiteral' ? bound.right.value : null
}

function newReads (): Reads {
  return { single: new Set(), restFrom: Infinity, computed: false }
}

function headerProblems (lua: string, reads: Readonly<Record<'KEYS' | 'ARGV', Reads>>, answers: boolean): string[] {
  const header = /^--\[\[\n([^]*?)\]\]/.exec(lua)?.[1]
  if (header === undefined) return ['it does not begin with a comment']
  const problems: string[] = []
  if (!/^ {2}[A-Z]\w+ [^]*?\./.test(header)) problems.push('the header does not say what the script does')
  if (/^ {2}Answers /m.test(header) !== answers) problems.push(`the header ${answers ? 'lists no' : 'lists'} answers`)
  for (const list of ['KEYS', 'ARGV'] as const) {
    const { single, restFrom, computed } = reads[list]
    const lines = [...header.matchAll(/^ {2}(KEYS|ARGV)\[(\d+)(\.\.\.)?\] +\S/gm)].filter(([, name]) => name === list)
    if (lines.some(([, , number], index) => Number(number) !== index + 1)) problems.push(`${list} are not listed in order`)
    const more = lines.at(-1)?.[3] === undefined ? Infinity : lines.length
    for (const at of single) {
      if (at > lines.length && at < more) problems.push(`${list}[${at}] is read but not listed`)
    }
    if ((restFrom < Infinity || computed) && more === Infinity) problems.push(`any number of ${list} is read but not listed`)
    for (let at = 1; at <= lines.length; at++) {
      const isRead = single.has(at) || at >= restFrom || (at === more && computed)
      if (!isRead) problems.push(`${list}[${at}] is listed but not read`)
    }
  }
  return problems
}

function isNode (value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value
}

function lineOf (node: Node | undefined): number {
  return node?.loc?.start.line ?? 0
}
