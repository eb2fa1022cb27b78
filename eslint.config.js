import regexp from 'eslint-plugin-regexp'
import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: resolveIgnoresFromGitignore() }),
  {
    rules: {
      '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true, ignoreTemplateLiterals: true, ignoreStrings: true }]
    }
  },
  {
    files: ['**/*.{ts,tsx}'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      // The compiler finds these too, and here they took a tenth of the time.
      '@typescript-eslint/no-unused-vars': 'off',
      // A TypeBox schema and its type share one name.
      '@typescript-eslint/no-redeclare': 'off'
    }
  },
  {
    files: ['web/**/*.tsx'],
    // Handlers are named after what they do.
    rules: {
      'react/jsx-handler-names': 'off',
      '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true, ignoreTemplateLiterals: true, ignoreStrings: true, ignorePattern: '<' }]
    }
  },
  {
    files: ['{src,plugins,queues,bench}/**/*.ts'],
    rules: {
      'no-restricted-properties': ['error', ...['any', 'timeout'].map(property => ({
        object: 'AbortSignal', property, message: 'On Node 20 it can vanish at a garbage collection: use src/lib/deadline.ts.'
      }))]
    }
  },
  {
    files: ['{src,plugins,queues}/**/*.ts'],
    rules: {
      // src/lib/error-serializer.ts renders errors only under `err`.
      'no-restricted-syntax': ['error', ...[
        '[key.name!="err"][value.name=/^(err|error|cause|thrown|reason)$/]', '[value.callee.name="messageOf"]',
        '[value.property.name=/^(message|stack|cause)$/]', '[value.left.property.name="cause"]'
      ].map(property => ({
        selector: 'CallExpression[callee.property.name=/^(trace|debug|info|warn|error|fatal)$/] > ' +
          `ObjectExpression > Property${property}`,
        message: 'Log an error whole, as `err`.'
      })), ...[
        'CallExpression[callee.property.name=/^(eval|evalsha|eval_ro|evalsha_ro|evalBuffer|evalshaBuffer|defineCommand)$/]',
        'CallExpression[callee.property.name="call"] > Literal.arguments:first-child[value=/^eval/i]',
        'TemplateElement[value.raw=/redis\\.p?call\\(/]', 'Literal[value=/redis\\.p?call\\(/]'
      ].map(selector => ({
        selector, message: 'Lua goes into a file of its own: see loadScript in src/redis/scripts.ts.'
      }))]
    }
  },
  {
    // The one place that sends scripts.
    files: ['src/redis/scripts.ts'],
    rules: { 'no-restricted-syntax': 'off' }
  },
  {
    // A pattern blocked every client for 8 s on 50,000 letters in an image: patterns read texts of clients and servers.
    files: ['{src,plugins,queues,schemas}/**/*.ts', 'web/**/*.{ts,tsx}'],
    plugins: { regexp },
    rules: {
      'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
      'regexp/no-super-linear-move': ['error', { report: 'potential', ignoreSticky: true }]
    }
  }
]
