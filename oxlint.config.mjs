/**
 * The rules that `npm run lint` holds the code to: those of JavaScript Standard Style, and our own. oxlint has most of
 * them itself; those of the plugins, which run in JavaScript, cost most of the time.
 */

/** Plugins in JavaScript. `core` has rules of ESLint that oxlint lacks, or where it reports what is right. */
const jsPlugins = [
  '@stylistic/eslint-plugin', 'eslint-plugin-regexp', { name: 'n-js', specifier: 'eslint-plugin-n' },
  { name: 'core', specifier: './test/lint-core.mjs' }
]
const tsx = ['**/*.tsx']
const typescript = ['**/*.{ts,tsx}']

const plain = names => Object.fromEntries(names.map(name => [name, 'error']))

/** Mistakes, and ways to write something that have a better one. */
const mistakes = {
  ...plain([
    'constructor-super', 'default-case-last', 'no-array-constructor', 'no-async-promise-executor', 'no-caller',
    'no-case-declarations', 'no-class-assign', 'no-compare-neg-zero', 'no-cond-assign', 'no-const-assign',
    'no-control-regex', 'no-debugger', 'no-delete-var', 'no-dupe-class-members', 'no-dupe-keys', 'no-duplicate-case',
    'no-empty-character-class', 'no-empty-pattern', 'no-eval', 'no-ex-assign', 'no-extend-native', 'no-extra-bind',
    'no-extra-boolean-cast', 'no-fallthrough', 'no-func-assign', 'no-global-assign', 'no-implied-eval',
    'no-import-assign', 'no-invalid-regexp', 'no-irregular-whitespace', 'no-iterator', 'no-lone-blocks',
    'no-loss-of-precision', 'no-misleading-character-class', 'no-multi-str', 'no-new', 'no-new-func',
    'no-new-native-nonconstructor', 'no-new-wrappers', 'no-obj-calls', 'no-object-constructor', 'no-proto',
    'no-prototype-builtins', 'no-regex-spaces', 'no-self-compare', 'no-sequences', 'no-shadow-restricted-names',
    'no-sparse-arrays', 'no-template-curly-in-string', 'no-this-before-super', 'no-throw-literal', 'no-undef',
    'no-unexpected-multiline', 'no-unreachable', 'no-unreachable-loop', 'no-unsafe-finally', 'no-unsafe-negation',
    'no-useless-backreference', 'no-useless-call', 'no-useless-catch', 'no-useless-computed-key',
    'no-useless-constructor', 'no-useless-escape', 'no-useless-rename', 'no-useless-return', 'no-var', 'no-void',
    'no-with', 'prefer-promise-reject-errors', 'symbol-description',
    'node/no-exports-assign', 'node/no-new-require', 'node/no-path-concat', 'promise/param-names',
    'core/no-undef-init', 'core/no-unmodified-loop-condition', 'n-js/no-callback-literal', 'n-js/no-deprecated-api'
  ]),
  'accessor-pairs': ['error', { setWithoutGet: true, enforceForClassMembers: true }],
  'array-callback-return': ['error', { allowImplicit: false, checkForEach: false }],
  curly: ['error', 'multi-line'],
  eqeqeq: ['error', 'always', { null: 'ignore' }],
  'new-cap': ['error', { newIsCap: true, capIsNew: false, properties: true }],
  'no-constant-condition': ['error', { checkLoops: false }],
  'no-empty': ['error', { allowEmptyCatch: true }],
  'no-labels': ['error', { allowLoop: false, allowSwitch: false }],
  'no-redeclare': ['error', { builtinGlobals: false }],
  'no-return-assign': ['error', 'except-parens'],
  'no-self-assign': ['error', { props: true }],
  'no-unneeded-ternary': ['error', { defaultAssignment: false }],
  'no-unused-expressions': ['error', { allowShortCircuit: true, allowTernary: true, allowTaggedTemplates: true }],
  'no-unused-vars': ['error', { args: 'none', caughtErrors: 'none', ignoreRestSiblings: true, vars: 'all' }],
  'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
  'object-shorthand': ['error', 'properties'],
  'one-var': ['error', { initialized: 'never' }],
  'prefer-const': ['error', { destructuring: 'all' }],
  'prefer-regex-literals': ['error', { disallowRedundantWrapping: true }],
  'unicode-bom': ['error', 'never'],
  'use-isnan': ['error', { enforceForSwitchCase: true, enforceForIndexOf: true }],
  'valid-typeof': ['error', { requireStringLiterals: true }],
  yoda: ['error', 'never'],
  'node/handle-callback-err': ['error', '^(err|error)$'],
  'core/camelcase': ['error', { allow: ['^UNSAFE_'], properties: 'never', ignoreGlobals: true }]
}

/** The compiler finds these too, and knows overloads, and a TypeBox schema and its type, which share one name. */
const foundByCompiler = [
  'constructor-super', 'no-const-assign', 'no-dupe-class-members', 'no-dupe-keys', 'no-func-assign',
  'no-import-assign', 'no-new-native-nonconstructor', 'no-obj-calls', 'no-redeclare', 'no-this-before-super',
  'no-undef', 'no-unreachable', 'no-unsafe-negation', 'no-unused-vars'
]

const ofPages = {
  ...plain([
    'jsx-boolean-value', 'jsx-no-comment-textnodes', 'jsx-no-duplicate-props', 'jsx-no-undef', 'no-children-prop',
    'no-danger-with-children', 'no-direct-mutation-state', 'no-find-dom-node', 'no-is-mounted',
    'no-render-return-value', 'no-unescaped-entities', 'require-render-return', 'self-closing-comp'
  ].map(name => `react/${name}`)),
  'react/jsx-fragments': ['error', 'syntax'],
  'react/jsx-key': ['error', { checkFragmentShorthand: true }],
  'react/jsx-no-target-blank': ['error', { enforceDynamicLinks: 'always' }],
  'react/no-string-refs': ['error', { noTemplateLiterals: true }]
}

const never = ['error', 'never']
const always = ['error', 'always']
const beside = (before, after) => ['error', { before, after }]
const maxLength = more => ['error', {
  code: 120, ignoreUrls: true, ignoreRegExpLiterals: true, ignoreTemplateLiterals: true, ignoreStrings: true, ...more
}]

const layout = {
  ...plain([
    'eol-last', 'new-parens', 'no-floating-decimal', 'no-mixed-spaces-and-tabs', 'no-tabs', 'no-trailing-spaces',
    'no-whitespace-before-property', 'space-infix-ops'
  ]),
  'array-bracket-spacing': never,
  'arrow-spacing': beside(true, true),
  'block-spacing': always,
  'brace-style': ['error', '1tbs', { allowSingleLine: true }],
  // Only parameters: the others are set free by the ending commas of long lists.
  'comma-dangle': ['error', { arrays: 'ignore', enums: 'ignore', exports: 'ignore', imports: 'ignore', objects: 'ignore' }],
  'comma-spacing': beside(false, true),
  'comma-style': ['error', 'last'],
  'computed-property-spacing': ['error', 'never', { enforceForClassMembers: true }],
  'dot-location': ['error', 'property'],
  'function-call-spacing': never,
  'generator-star-spacing': beside(true, true),
  indent: ['error', 2, {
    SwitchCase: 1,
    VariableDeclarator: 1,
    outerIIFEBody: 1,
    MemberExpression: 1,
    FunctionDeclaration: { parameters: 1, body: 1 },
    FunctionExpression: { parameters: 1, body: 1 },
    CallExpression: { arguments: 1 },
    ArrayExpression: 1,
    ObjectExpression: 1,
    ImportDeclaration: 1,
    flatTernaryExpressions: false,
    ignoreComments: false,
    ignoredNodes: [
      'TemplateLiteral *', 'JSXElement', 'JSXElement > *', ...[
        'Attribute', 'Identifier', 'NamespacedName', 'MemberExpression', 'SpreadAttribute', 'ExpressionContainer',
        'OpeningElement', 'ClosingElement', 'Fragment', 'OpeningFragment', 'ClosingFragment', 'Text', 'EmptyExpression',
        'SpreadChild'
      ].map(name => `JSX${name}`)
    ],
    offsetTernaryExpressions: true
  }],
  'key-spacing': ['error', { beforeColon: false, afterColon: true }],
  'keyword-spacing': beside(true, true),
  'lines-between-class-members': ['error', 'always', { exceptAfterSingleLine: true }],
  'max-len': maxLength(),
  'multiline-ternary': ['error', 'always-multiline'],
  'no-extra-parens': ['error', 'functions'],
  'no-mixed-operators': ['error', {
    groups: [['==', '!=', '===', '!==', '>', '>=', '<', '<='], ['&&', '||'], ['in', 'instanceof']], allowSamePrecedence: true
  }],
  'no-multi-spaces': ['error', { ignoreEOLComments: true }],
  'no-multiple-empty-lines': ['error', { max: 1, maxBOF: 0, maxEOF: 0 }],
  'object-curly-newline': ['error', { multiline: true, consistent: true }],
  'object-curly-spacing': always,
  'object-property-newline': ['error', { allowAllPropertiesOnSameLine: true }],
  'operator-linebreak': ['error', 'after', { overrides: { '?': 'before', ':': 'before', '|': 'ignore', '&': 'ignore' } }],
  'padded-blocks': ['error', { blocks: 'never', switches: 'never', classes: 'never' }],
  'quote-props': ['error', 'as-needed'],
  quotes: ['error', 'single', { avoidEscape: true, allowTemplateLiterals: 'never' }],
  'rest-spread-spacing': never,
  semi: never,
  'semi-spacing': beside(false, true),
  'space-before-blocks': always,
  'space-before-function-paren': always,
  'space-in-parens': never,
  'space-unary-ops': ['error', { words: true, nonwords: false }],
  'spaced-comment': ['error', 'always', {
    line: { markers: ['*package', '!', '/', ',', '='] },
    block: { balanced: true, markers: ['*package', '!', ',', ':', '::', 'flow-include'], exceptions: ['*'] }
  }],
  'template-curly-spacing': never,
  'template-tag-spacing': never,
  'wrap-iife': ['error', 'any', { functionPrototypeMethods: true }],
  'yield-star-spacing': ['error', 'both']
}

const layoutOfPages = {
  // Tags begin wherever a line would be too long.
  'max-len': maxLength({ ignorePattern: '<' }),
  'jsx-closing-bracket-location': ['error', 'tag-aligned'],
  'jsx-closing-tag-location': 'error',
  'jsx-curly-brace-presence': ['error', { props: 'never', children: 'never' }],
  'jsx-curly-newline': ['error', { multiline: 'consistent', singleline: 'consistent' }],
  'jsx-curly-spacing': ['error', {
    attributes: { when: 'never', allowMultiline: true }, children: { when: 'never', allowMultiline: true }
  }],
  'jsx-equals-spacing': never,
  'jsx-first-prop-new-line': ['error', 'multiline-multiprop'],
  'jsx-indent': ['error', 2, { checkAttributes: false, indentLogicalExpressions: true }],
  'jsx-indent-props': ['error', 2],
  'jsx-pascal-case': ['error', { allowAllCaps: false }],
  'jsx-quotes': ['error', 'prefer-single'],
  'jsx-tag-spacing': ['error', { closingSlash: 'never', beforeSelfClosing: 'always', afterOpening: 'never', beforeClosing: 'never' }],
  'jsx-wrap-multilines': ['error', Object.fromEntries([
    ...['declaration', 'assignment', 'return'].map(place => [place, 'parens-new-line']),
    ...['arrow', 'condition', 'logical', 'prop'].map(place => [place, 'ignore'])
  ])]
}

const stylistic = rules => Object.fromEntries(Object.entries(rules).map(([name, level]) => [`@stylistic/${name}`, level]))

/** src/lib/error-serializer.ts renders errors only under `err`. */
const errorsOfLogs = [
  '[key.name!="err"][value.name=/^(err|error|cause|thrown|reason)$/]', '[value.callee.name="messageOf"]',
  '[value.property.name=/^(message|stack|cause)$/]', '[value.left.property.name="cause"]'
].map(property => ({
  selector: 'CallExpression[callee.property.name=/^(trace|debug|info|warn|error|fatal)$/] > ' +
    `ObjectExpression > Property${property}`,
  message: 'Log an error whole, as `err`.'
}))
const luaInCode = [
  'CallExpression[callee.property.name=/^(eval|evalsha|eval_ro|evalsha_ro|evalBuffer|evalshaBuffer|defineCommand)$/]',
  'CallExpression[callee.property.name="call"] > Literal.arguments:first-child[value=/^eval/i]',
  'TemplateElement[value.raw=/redis\\.p?call\\(/]', 'Literal[value=/redis\\.p?call\\(/]'
].map(selector => ({ selector, message: 'Lua goes into a file of its own: see loadScript in src/redis/scripts.ts.' }))

export default {
  plugins: ['typescript', 'node', 'promise', 'react'],
  jsPlugins,
  categories: { correctness: 'off' },
  env: { builtin: true, es2022: true, node: true },
  globals: { document: 'readonly', navigator: 'readonly', window: 'readonly' },
  ignorePatterns: ['**/node_modules/**', '**/dist/**', '**/data/**', 'first-picture.*', '**/.tap/**', '**/coverage/**'],
  rules: { ...mistakes, ...stylistic(layout) },
  overrides: [
    { files: typescript, rules: { ...Object.fromEntries(foundByCompiler.map(name => [name, 'off'])), 'typescript/no-explicit-any': 'error' } },
    { files: tsx, rules: { ...ofPages, ...stylistic(layoutOfPages) } },
    {
      files: ['{src,plugins,queues,bench}/**/*.ts'],
      rules: {
        'no-restricted-properties': ['error', ...['any', 'timeout'].map(property => ({
          object: 'AbortSignal', property, message: 'On Node 20 it can vanish at a garbage collection: use src/lib/deadline.ts.'
        }))]
      }
    },
    { files: ['{src,plugins,queues}/**/*.ts'], rules: { 'core/no-restricted-syntax': ['error', ...errorsOfLogs, ...luaInCode] } },
    // The one place that sends scripts.
    { files: ['src/redis/scripts.ts'], rules: { 'core/no-restricted-syntax': 'off' } },
    {
      // Patterns read texts of clients and servers: one blocked all for 8 s on 50,000 letters in an image.
      files: ['{src,plugins,queues,schemas}/**/*.ts', 'web/**/*.{ts,tsx}'],
      rules: {
        'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
        'regexp/no-super-linear-move': ['error', { report: 'potential', ignoreSticky: true }]
      }
    }
  ]
}
