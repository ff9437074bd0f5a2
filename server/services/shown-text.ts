/**
 * Returns text from outside as an error message may show it: in quotes if short and unlike a key, else only its length.
 */
export function shownText(text: string): string {
  return text.length <= maxShownLength && !looksLikeKey.test(text)
    ? JSON.stringify(text)
    : `a text of length ${text.length}`
}

const maxShownLength = 64

/** Matches an API key of this service, or a provider's key: people paste keys into the wrong field. */
const looksLikeKey = /[A-Za-z0-9]{10}-[A-Za-z0-9]{22}|^sk-|[A-Za-z0-9_]{40}/
