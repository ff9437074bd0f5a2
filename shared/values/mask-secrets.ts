/**
 * Masks secrets in text that is logged, printed as an error or recorded as one. This is the last resort: no secret
 * should come that far.
 */

const masked = '[secret]'
const minLength = 8

/**
 * The replacement keeps the parts that make a secret recognisable. No pattern crosses a quote or a backslash, so a line
 * of JSON stays one.
 */
const patterns: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  // API keys and daemon keys: the part before the dash is the public id.
  [/(?<![A-Za-z0-9])([A-Za-z0-9]{10})-[A-Za-z0-9]{22}(?![A-Za-z0-9])/g, `$1-${masked}`],
  // Keys of providers.
  [/(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{8,}/g, `sk-${masked}`],
  // RFC 6750, section 2.1; shorter words are prose, such as `authentication`.
  [/\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{16,}/gi, `$1 ${masked}`],
]

/** Matches the password in a URL. A password may hold an unescaped @: the last one before the host ends the match. */
const urlPassword = /\b([a-z][a-z0-9+.-]{1,31}:\/\/[^\s"\\:/?#@]{0,256}):([^\s"\\/?#]{1,1024})@/gi

/** Words that stand for a password in a template, such as `postgres://USER:PASSWORD@HOST`. */
const templateWords = new Set(['PASSWORD', 'PASS', 'SECRET', '<password>', '…', '...', '***', masked])

/**
 * Replaces the given secrets and everything that looks like a secret: API and daemon keys except for their ids, `sk-…`,
 * `Bearer …` and `Basic …`, passwords in URLs.
 * @param secrets replaced in every place, in any form; a secret of less than 8 characters could be a word and stays
 */
export function maskSecrets(text: string, secrets: readonly string[] = []): string {
  let result = text
  for (const secret of secrets) if (secret.length >= minLength) result = result.replaceAll(secret, masked)
  for (const [pattern, replacement] of patterns) result = result.replace(pattern, replacement)
  return result.replace(urlPassword, (url: string, start: string, password: string) =>
    templateWords.has(password) ? url : `${start}:${masked}@`,
  )
}
