/** A text that came from outside, as an error message may show it: in quotes where it is short and looks like no key, else only its length. */
export function shownText(text: string): string {
  return text.length <= maxShownLength && !looksLikeKey.test(text)
    ? JSON.stringify(text)
    : `a text of length ${text.length}`
}

const maxShownLength = 64

/** An API key of this service, or a provider's key: people paste them into the wrong field. */
const looksLikeKey = /[A-Za-z0-9]{10}-[A-Za-z0-9]{22}|^sk-|[A-Za-z0-9_]{40}/
