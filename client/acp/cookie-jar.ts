/** Cookies of one server, by which proxies find the process of a connection. */

interface Cookie {
  readonly value: string
  readonly path: string
  readonly isSecure: boolean
  /** in milliseconds since 1970; Infinity: as long as the jar */
  readonly expiresAt: number
}

/** RFC 6265, section 6.1: browsers keep at least 50 cookies of one host, of 4,096 bytes each */
const maxCookies = 50
const maxCookieLength = 4_096

/**
 * Keeps the cookies of one host (RFC 6265). A `Domain` makes no difference, because the client calls no other host. The
 * oldest cookie gives way to one above the limit.
 */
export class CookieJar {
  readonly #cookies = new Map<string, Cookie>()
  readonly #clock: () => number

  constructor(clock: () => number = Date.now) {
    this.#clock = clock
  }

  /** Takes the `Set-Cookie` headers of a response to `url`. Cookies that break a rule are left out. */
  store(headers: string | readonly string[] | undefined, url: URL): void {
    for (const header of typeof headers === 'string' ? [headers] : (headers ?? [])) this.#storeOne(header, url)
  }

  /** Returns the header `Cookie` of a request to `url`; undefined without a cookie for it. */
  headerFor(url: URL): string | undefined {
    const now = this.#clock()
    const sent = [...this.#cookies].filter(
      ([, { path, isSecure, expiresAt }]) =>
        expiresAt > now && (!isSecure || isSecureUrl(url)) && isBelow(url.pathname, path),
    )
    // RFC 6265, section 5.4: longer paths first.
    sent.sort(([, a], [, b]) => b.path.length - a.path.length)
    return sent.length === 0 ? undefined : sent.map(([key, { value }]) => `${nameOf(key)}=${value}`).join('; ')
  }

  #storeOne(header: string, url: URL): void {
    if (header.length > maxCookieLength) return
    const [pair = '', ...attributes] = header.split(';')
    const [name, value] = splitAt(pair)
    // Header values hold no control characters; Node checks the whole header when it is sent.
    if (name === '' || value === undefined || !/^[\x20-\x7e]*$/.test(pair)) return
    let path = defaultPath(url)
    let isSecure = false
    let expires = Number.POSITIVE_INFINITY
    let maxAge: number | undefined
    for (const attribute of attributes) {
      const [key, given = ''] = splitAt(attribute)
      switch (key.toLowerCase()) {
        case 'path':
          if (given.startsWith('/')) path = given
          break
        case 'secure':
          isSecure = true
          break
        case 'expires':
          expires = Number.isNaN(Date.parse(given)) ? expires : Date.parse(given)
          break
        case 'max-age':
          if (/^-?\d{1,15}$/.test(given)) maxAge = this.#clock() + Number(given) * 1000
      }
    }
    if (isSecure && !isSecureUrl(url)) return
    const key = `${name};${path}`
    this.#cookies.delete(key)
    const expiresAt = maxAge ?? expires
    if (expiresAt <= this.#clock()) return
    this.#cookies.set(key, { value, path, isSecure, expiresAt })
    const [oldest] = this.#cookies.keys()
    if (this.#cookies.size > maxCookies && oldest !== undefined) this.#cookies.delete(oldest)
  }
}

/** A name holds no semicolon. */
function nameOf(key: string): string {
  return key.slice(0, key.indexOf(';'))
}

function splitAt(text: string): [name: string, value: string | undefined] {
  const equals = text.indexOf('=')
  return equals < 0 ? [text.trim(), undefined] : [text.slice(0, equals).trim(), text.slice(equals + 1).trim()]
}

function isSecureUrl({ protocol }: URL): boolean {
  return protocol === 'https:' || protocol === 'wss:'
}

/** RFC 6265, section 5.1.4 */
function defaultPath({ pathname }: URL): string {
  return pathname.lastIndexOf('/') <= 0 ? '/' : pathname.slice(0, pathname.lastIndexOf('/'))
}

function isBelow(pathname: string, path: string): boolean {
  if (pathname === path) return true
  return pathname.startsWith(path) && (path.endsWith('/') || pathname[path.length] === '/')
}
