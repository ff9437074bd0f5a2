/** Returns whether a pattern matches the name of a model in any case; `*` stands for any text. */
export function matchesModel(patterns: readonly string[], model: string): boolean {
  const name = model.toLowerCase()
  return patterns.some(pattern => {
    const [first = '', ...rest] = pattern.toLowerCase().split('*')
    if (rest.length === 0) return name === first
    const last = rest.pop() ?? ''
    if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
    let at = first.length
    for (const part of rest) {
      const found = name.indexOf(part, at)
      if (found < 0 || found + part.length > name.length - last.length) return false
      at = found + part.length
    }
    return true
  })
}
