/** Parameters of a path: name → text. */
export type Params = Readonly<Record<string, string>>

/**
 * Returns the parameters of a path that fits a pattern such as `/users/:id`, or undefined. A slash at the end of the
 * path does not count.
 */
export function matchPath(pattern: string, path: string): Params | undefined {
  const names = pattern.split('/')
  const parts = path.replace(/(.)\/+$/, '$1').split('/')
  if (names.length !== parts.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, name] of names.entries()) {
    const part = parts[index] ?? ''
    if (name.startsWith(':')) {
      const value = decoded(part)
      if (value === undefined || value === '') return undefined
      params[name.slice(1)] = value
    } else if (name !== part) return undefined
  }
  return params
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined // no UTF-8 behind the percent signs
  }
}
