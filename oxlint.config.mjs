import config from './eslint.config.js'

/**
 * The rules of `eslint.config.js` for oxlint, which runs the same code of the plugins over a tree that it parses in
 * Rust: half of the processor time. Editors and `npx eslint` read the original.
 */

/** Plugins whose names oxlint uses for rules of its own. Those of `core` are ESLint's. */
const aliases = { n: 'n-js', promise: 'promise-js', react: 'react-js', '@typescript-eslint': 'typescript-js' }
/** Rules of oxlint: the same, and either cheaper or switched off by a comment somewhere, which names no plugin. */
const native = ['no-constant-condition', 'no-eval', 'no-new', 'no-template-curly-in-string']
/** Only tells ESLint's own analysis of paths where a program ends. */
const useless = 'n/process-exit-as-throw'

function renamed (id) {
  if (native.includes(id)) return id
  const [name, plugin = 'core'] = id.split('/').toReversed()
  return `${aliases[plugin] ?? plugin}/${name}`
}

export default {
  plugins: [],
  jsPlugins: [
    '@stylistic/eslint-plugin', 'eslint-plugin-regexp', { name: 'core', specifier: './test/lint-core.mjs' },
    ...['n', 'promise', 'react'].map(name => ({ name: aliases[name], specifier: `eslint-plugin-${name}` })),
    { name: aliases['@typescript-eslint'], specifier: '@typescript-eslint/eslint-plugin' }
  ],
  categories: { correctness: 'off' },
  ignorePatterns: config.flatMap(({ ignores = [], rules }) => rules === undefined ? ignores : []),
  settings: Object.assign({}, ...config.map(({ settings }) => settings)),
  overrides: config.filter(({ rules }) => rules !== undefined).map(({ files, ignores, rules, languageOptions }) => ({
    files: files ?? ['**/*'],
    ...ignores && { excludeFiles: ignores },
    ...languageOptions?.globals && { globals: languageOptions.globals },
    rules: Object.fromEntries(Object.entries(rules).filter(([id]) => id !== useless)
      .map(([id, level]) => [renamed(id), level]))
  }))
}
