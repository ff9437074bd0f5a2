/** A request's address, taken apart without changing a character of it. */
export interface Mount {
  /** path segment after `/bridge/`; empty if the path is none of ours */
  providerName: string
  /** below the mount, as the client wrote it, without query */
  path: string
  /** with its question mark; empty if there is none */
  query: string
}

/** Reads `/bridge/<name>/…?…`. */
export function parseMount(url: string): Mount {
  const [, providerName = '', path = '', query = ''] = /^\/bridge\/([^/?]+)(\/[^?]*)?(\?.*)?$/s.exec(url) ?? []
  return { providerName, path, query }
}

/** What of a path lies below another, itself empty or without a slash at its end; undefined if it does not. */
export function pathBelow(path: string, above: string): string | undefined {
  return path.startsWith(above) && (above === '' || path[above.length] === '/') ? path.slice(above.length) : undefined
}

/**
 * Whether a path could leave the folder that it is appended to: it has a segment `.` or `..`, also written with escapes, which a server may
 * undo before it resolves the path.
 */
export function hasDotSegments(path: string): boolean {
  const plain = path.replace(/%2e/gi, '.').replace(/%2f|%5c|\\/gi, '/')
  return plain.split('/').some(segment => segment === '.' || segment === '..')
}
