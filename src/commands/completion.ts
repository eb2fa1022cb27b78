import type { Command } from 'commander'

/** A command with its words: `servers add`. */
interface Entry {
  readonly path: string
  readonly subcommands: ReadonlyArray<readonly [name: string, description: string]>
  readonly options: ReadonlyArray<readonly [name: string, description: string]>
  /** Possible values by option. */
  readonly values: ReadonlyArray<readonly [option: string, values: readonly string[]]>
}

export const shells = ['bash', 'zsh'] as const

/** A script that completes the command line in a shell; it asks no service. */
export function completionScript (program: Command, shell: typeof shells[number]): string {
  const entries = entriesOf(program, '')
  return shell === 'bash' ? bashScript(entries) : zshScript(entries)
}

function entriesOf (command: Command, path: string): Entry[] {
  const help = command.createHelp()
  const subcommands = help.visibleCommands(command)
  const options = help.visibleOptions(command)
  return [{
    path,
    subcommands: subcommands.map(one => [one.name(), one.summary() || one.description()]),
    options: options.flatMap(({ long, short, description }) =>
      [long, short].filter(name => name != null).map(name => [name, description] as const)),
    values: options.flatMap(({ long, argChoices }) =>
      long == null || argChoices === undefined ? [] : [[long, argChoices] as const])
  }, ...subcommands.flatMap(one => entriesOf(one, path === '' ? one.name() : `${path} ${one.name()}`))]
}

const listed = (entries: readonly Entry[]) => entries.map(({ path, subcommands, options }) =>
  `    '${path}') words='${[...subcommands, ...options].map(([name]) => name).join(' ')}' ;;`).join('\n')

const valuesOf = (entries: readonly Entry[]) => entries.flatMap(({ path, values }) => values.map(([option, known]) =>
  `    '${path} ${option}') words='${known.join(' ')}' ;;`)).join('\n')

const pathsOf = (entries: readonly Entry[]) => entries.filter(({ path }) => path !== '').map(({ path }) => `'${path}'`).join('|')

function bashScript (entries: readonly Entry[]): string {
  return `# Completion of stablequeue for bash: eval "$(stablequeue completion bash)"
_stablequeue () {
  local current="\${COMP_WORDS[COMP_CWORD]}" path='' word words='' index
  for (( index = 1; index < COMP_CWORD; index++ )); do
    word="\${COMP_WORDS[index]}"
    case "\${path:+$path }$word" in
      ${pathsOf(entries)}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path \${COMP_WORDS[COMP_CWORD-1]}" in
${valuesOf(entries)}
  esac
  [[ -n $words ]] || case "$path" in
${listed(entries)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _stablequeue stablequeue
`
}

function zshScript (entries: readonly Entry[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
  const described = entries.map(({ path, subcommands, options }) =>
    `    ${quoted(path)}) words=(${[...subcommands, ...options].map(([name, about]) => quoted(`${name}:${about.split('\n')[0]}`)).join(' ')}) ;;`).join('\n')
  const values = entries.flatMap(({ path, values }) => values.map(([option, known]) =>
    `    ${quoted(`${path} ${option}`)}) words=(${known.join(' ')}) ;;`)).join('\n')
  return `#compdef stablequeue
# Completion of stablequeue for zsh: eval "$(stablequeue completion zsh)"
_stablequeue () {
  local command='' word index
  local -a line=("\${words[@]}")
  local -a words=()
  for (( index = 2; index < CURRENT; index++ )); do
    word="\${line[index]}"
    case "\${command:+$command }$word" in
      ${pathsOf(entries)}) command="\${command:+$command }$word" ;;
    esac
  done
  case "$command \${line[CURRENT-1]}" in
${values}
  esac
  (( $#words )) || case "$command" in
${described}
  esac
  local -a found=("\${words[@]}")
  words=("\${line[@]}")
  _describe 'stablequeue' found || _files
}
(( $+functions[compdef] )) && compdef _stablequeue stablequeue
`
}
