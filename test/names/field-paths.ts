/** Returns the dotted paths of all fields in a JSON value; `[]` stands for the items of a list. */
export function fieldPaths(value: unknown, prefix = ''): string[] {
  if (Array.isArray(value)) return value.flatMap(item => fieldPaths(item, `${prefix}[]`))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) => {
    const path = prefix === '' ? name : `${prefix}.${name}`
    return [path, ...fieldPaths(member, path)]
  })
}
