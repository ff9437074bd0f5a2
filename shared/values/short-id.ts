/**
 * The short form of an id, for people: the last 12 digits of a UUID, the part behind its last dash. The first digits of
 * ids that are made at one time are alike (UUIDv7, RFC 9562 section 5.7), the last ones are random: among a million
 * ids, two share this form once in 500 cases.
 */
const shortForm = /^[0-9a-f]{12}$/i
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * Returns the short form of a UUID; any other text as it is, since the ids of keys and the names of providers are short
 * already.
 */
export function shortIdOf(id: string): string {
  return uuid.test(id) ? id.slice(-12) : id
}

/** Whether a text has the form of a short id. */
export function isShortId(text: string): boolean {
  return shortForm.test(text)
}
