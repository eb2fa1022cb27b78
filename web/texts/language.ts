import { readPreference } from '../lib/preference.ts'
import { formsOf, type Forms } from './forms.ts'
import { languages, type Catalogue } from './languages.ts'

/** The name of the preference; its value is a tag of the list, or empty for the language of the browser. */
export const languagePreference = 'language'

const preferred: readonly string[] = globalThis.navigator?.languages ?? []

/**
 * The language of the texts: the one that the user chose here, else the first of the browser's that we have.
 * @returns tag: of the list, or `en`; locale: the browser's tag for it, which can name a region
 */
function chooseLanguage () {
  const chosen = readPreference(languagePreference, '')
  const wanted = chosen === '' ? preferred : [chosen]
  for (const locale of wanted) {
    const tag = [locale, primaryOf(locale)].find(each => each === 'en' || Object.hasOwn(languages, each))
    if (tag !== undefined) return { tag, locale: preferred.find(each => primaryOf(each) === primaryOf(tag)) ?? tag }
  }
  return { tag: 'en', locale: 'en' }
}

function primaryOf (locale: string) {
  return locale.split('-')[0]?.toLowerCase() ?? ''
}

const { tag, locale } = chooseLanguage()
const other = tag === 'en' ? undefined : await loadLanguage(tag)
// The words of English do not depend on the region, but people without another language here know their own dates.
export const forms = other === undefined ? formsOf('en', preferred[0]) : formsOf(locale)
if (globalThis.document !== undefined) document.documentElement.lang = other === undefined ? 'en' : tag

/** English, if it cannot be loaded: a page in English is better than none. */
async function loadLanguage (name: string) {
  try {
    return (await languages[name]?.load())?.default
  } catch {
    return undefined
  }
}

/** A section of the catalogue in the language of the user. English defines its type. */
export function inLanguage<Texts> (section: keyof Catalogue, english: (forms: Forms) => Texts): Texts {
  const texts = english(forms)
  const translated = other?.[section] as ((forms: Forms, english: Texts) => Texts) | undefined
  return translated === undefined ? texts : translated(forms, texts)
}
