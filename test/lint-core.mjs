import { builtinRules } from 'eslint/use-at-your-own-risk'

/** ESLint's own rules, as a plugin for oxlint: see oxlint.config.mjs. */
export default { meta: { name: 'core' }, rules: Object.fromEntries(builtinRules) }
