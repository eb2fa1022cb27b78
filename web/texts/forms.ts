/** What a language says differently for each value: numbers, moments, plurals. The catalogues use it in their texts. */

/**
 * The text for each plural category of the language: English has `one` and `other`. `#` is the number, so texts of
 * users, which can contain one, stand outside.
 */
export type PluralTexts = Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }>

export type Forms = ReturnType<typeof formsOf>

/**
 * @param locale BCP 47, such as `en` or `pt-BR`
 * @param region the locale of dates; undefined takes the browser's
 */
export function formsOf (locale: string, region: string | undefined = locale) {
  const grouped = new Intl.NumberFormat(locale)
  const tenths = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 })
  const rules = new Intl.PluralRules(locale)
  const ago = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' })

  return {
    /** `2,100` */
    number (value: number) {
      return grouped.format(value)
    },

    /** `2.1`, also `2.0` */
    decimal (value: number) {
      return tenths.format(value)
    },

    /** `1 job`, `2,100 jobs` */
    plural (count: number, texts: PluralTexts) {
      return (texts[rules.select(count)] ?? texts.other).replaceAll('#', () => grouped.format(count))
    },

    /** `3 min. ago`; @param value below 0 in the past */
    relative (value: number, unit: Intl.RelativeTimeFormatUnit) {
      return ago.format(value, unit)
    },

    /** A date, a time or both, in the browser's time zone. */
    moment (moment: Date, options: Intl.DateTimeFormatOptions) {
      return momentFormat(region, options).format(moment)
    }
  }
}

const momentFormats = new Map<string, Intl.DateTimeFormat>()

/** Lists format many moments, and creating a format takes long. */
function momentFormat (region: string | undefined, options: Intl.DateTimeFormatOptions) {
  const key = JSON.stringify([region, options])
  const format = momentFormats.get(key) ?? new Intl.DateTimeFormat(region, options)
  momentFormats.set(key, format)
  return format
}
