/** The parts of a request's URL, with every character as received. */
export interface Mount {
  /** path segment after `/bridge/`; empty for any other path */
  providerName: string
  /** path below the mount, without query */
  path: string
  /** query with its question mark; empty without one */
  query: string
}

/** Returns the parts of `/bridge/<name>/…?…`. */
export function parseMount(url: string): Mount {
  const [, providerName = '', path = '', query = ''] = /^\/bridge\/([^/?]+)(\/[^?]*)?(\?.*)?$/s.exec(url) ?? []
  return { providerName, path, query }
}

/**
 * Returns the part of a path below another, which is empty or has no slash at its end; undefined if the path is
 * elsewhere.
 */
export function pathBelow(path: string, above: string): string | undefined {
  return path.startsWith(above) && (above === '' || path[above.length] === '/') ? path.slice(above.length) : undefined
}

/**
 * Returns whether a path could leave the folder that it is appended to: it has a segment `.` or `..`. Escapes count
 * too, as a server may decode them before it resolves the path.
 */
export function hasDotSegments(path: string): boolean {
  const plain = path.replace(/%2e/gi, '.').replace(/%2f|%5c|\\/gi, '/')
  return plain.split('/').some(segment => segment === '.' || segment === '..')
}
