import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: resolveIgnoresFromGitignore() }),
  {
    rules: {
      '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true, ignoreTemplateLiterals: true, ignoreStrings: true }]
    }
  },
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      // a TypeBox schema and its type share one name
      '@typescript-eslint/no-redeclare': 'off'
    }
  },
  {
    files: ['{src,plugins,queues,bench}/**/*.ts'],
    // until they go through src/lib/http
    ignores: ['src/egress/*.ts', 'src/civitai/*.ts'],
    rules: {
      'no-restricted-properties': ['error', ...['any', 'timeout'].map(property => ({
        object: 'AbortSignal', property, message: 'On Node 20 it can vanish at a garbage collection: use src/lib/deadline.ts.'
      }))]
    }
  }
]
