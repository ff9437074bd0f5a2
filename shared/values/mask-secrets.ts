/**
 * What looks like a secret is masked in text that is logged, printed as an error or recorded as one. The last resort: nothing is
 * meant to bring a secret that far.
 */

const masked = '[secret]'
const minLength = 8

/** What stands for the secret keeps what makes it recognisable. None of the patterns crosses a quote or a backslash, so a line of JSON stays one. */
const patterns: readonly (readonly [RegExp, string])[] = [
  // API keys and daemon keys: the part before the dash is the public id.
  [/(?<![A-Za-z0-9])([A-Za-z0-9]{10})-[A-Za-z0-9]{22}(?![A-Za-z0-9])/g, `$1-${masked}`],
  // Keys of providers.
  [/(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{8,}/g, `sk-${masked}`],
  // RFC 6750, section 2.1; shorter words are prose, such as `authentication`.
  [/\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{16,}/gi, `$1 ${masked}`],
  // Passwords in URLs. The last @ before the host ends them, should they hold one unescaped.
  [/\b([a-z][a-z0-9+.-]{1,31}:\/\/[^\s"\\:/?#@]{0,256}):[^\s"\\/?#]{1,1024}@/gi, `$1:${masked}@`],
]

/**
 * Replaces the given secrets, and whatever else looks like one: API and daemon keys but for their ids, `sk-…`, `Bearer …` and `Basic …`,
 * passwords in URLs.
 * @param secrets replaced wherever they stand, whatever they look like; those of less than 8 characters could be words and are left
 */
export function maskSecrets(text: string, secrets: readonly string[] = []): string {
  let result = text
  for (const secret of secrets) if (secret.length >= minLength) result = result.replaceAll(secret, masked)
  for (const [pattern, replacement] of patterns) result = result.replace(pattern, replacement)
  return result
}
