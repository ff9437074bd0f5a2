/** The parts of a request's URL, with every character as received. */
export interface Mount {
  /** path segment after `/bridge/`; empty for any other path */
  providerName: string
  /** path below the mount, without query; doubled and trailing slashes are collapsed */
  path: string
  /** query with its question mark; empty without one */
  query: string
}

/** Returns the parts of `/bridge/<name>/…?…`. */
export function parseMount(url: string): Mount {
  const [, providerName = '', path = '', query = ''] = /^\/+bridge\/+([^/?]+)(\/[^?]*)?(\?.*)?$/s.exec(url) ?? []
  return { providerName, path: path.replace(/\/{2,}/g, '/').replace(/\/$/, ''), query }
}

/** The beginning of the paths of MCP servers. */
export const mcpPrefix = '/mcp/'

/**
 * Returns the name in `/mcp/<name>`; empty for another path below `/mcp/`, and undefined for a path elsewhere. The
 * query does not count.
 */
export function parseMcpMount(url: string): string | undefined {
  const path = url.replace(/\?.*$/s, '').replace(/^\/{2,}/, '/')
  if (!path.startsWith(mcpPrefix)) return undefined
  return /^\/mcp\/+([^/]+)\/*$/s.exec(path)?.[1] ?? ''
}

/**
 * Returns the path below a provider's base URL for a path below its mount. Clients disagree on `/v1` at the end of a
 * base URL: a path may have it twice, once or not at all.
 * @param mountPath the part of the path that the base URL has already: `/v1` or nothing
 */
export function apiPath(path: string, mountPath: string): string {
  const unversioned = path.replace(/^(?:\/v1){1,2}(?=\/|$)/, '')
  return mountPath === '' ? `/v1${unversioned}` : unversioned
}

/** Encodings of an encoding that are undone before a path is judged; a deeper one is no honest path. */
const maxDecodings = 8

/**
 * Returns whether a path could leave the folder that it is appended to: it has a segment `.` or `..`. Escapes count
 * too, also escaped ones and overlong ones, and so does a segment with parameters (`..;x`): a server may decode and cut
 * them before it resolves the path.
 */
export function mayLeaveFolder(path: string): boolean {
  let plain = path
  for (let decodings = 0; ; decodings++) {
    if (plain.split(/[/\\]/).some(isDotSegment)) return true
    const decoded = decodeOnce(plain)
    if (decoded === plain) return false
    if (decodings === maxDecodings) return true
    plain = decoded
  }
}

/** Parameters, a query and a fragment end a segment; some servers ignore white space and control characters. */
function isDotSegment(segment: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are the point
  const name = segment.replace(/[;?#].*$/s, '').replace(/[\x00-\x20\x7f]/g, '')
  return name === '.' || name === '..'
}

/** Decodes the escapes of bytes, and the overlong forms of dot, slash and backslash in UTF-8. */
function decodeOnce(path: string): string {
  return path
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/%u00([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/\xc0\xae|\xe0\x80\xae/g, '.')
    .replace(/\xc0\xaf|\xe0\x80\xaf|\xc1\x9c/g, '/')
}
