/** Functions that readers of provider JSON share. They expect no shape and never throw. */
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'

/** Returns the value if it is text and not empty. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Returns the objects of an array; none for any other value. */
export function objectsOf(value: unknown): readonly Record<string, unknown>[] {
  if (!Array.isArray(value)) return none
  // A copy for each list of each event of a stream would be garbage.
  return value.every(isPlainObject) ? value : value.filter(isPlainObject)
}

const none: readonly Record<string, unknown>[] = []

/** Returns the JSON text of a value from JSON.parse; empty for a value that is nested too deeply for JSON.stringify. */
export function jsonTextOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return '' // a RangeError: thousands of levels, more than any tool's input has
  }
}

/** Returns the value of JSON text; undefined for other text, which passes to the client and leaves no record. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Returns an id that stands alone or in an object. */
export function idOf(value: unknown): string | undefined {
  return textOf(isPlainObject(value) ? value.id : value)
}

/** Returns the name of a type that stands alone or in an object. */
export function typeNameOf(value: unknown): string | undefined {
  return textOf(isPlainObject(value) ? value.type : value)
}

/** Returns a tool's name with the group that it belongs to: tools of two groups may have one name. */
export function qualified(group: string | undefined, name: string | undefined): string {
  return group === undefined ? (name ?? '') : `${group}.${name ?? ''}`
}

/** Returns the texts among the values; undefined without any. */
export function metadataOf(values: Readonly<Record<string, string | undefined>>): JsonObject | undefined {
  const texts = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return texts.length === 0 ? undefined : Object.fromEntries(texts)
}

/** more MCP servers of a request are not known by their URLs */
const maxServers = 100

/** Returns name → URL of the MCP servers that a request lists for the provider's own use. */
export function serverUrls(servers: unknown, nameField: string, urlField: string): ReadonlyMap<string, string> {
  const pairs = objectsOf(servers).slice(0, maxServers)
  return new Map(
    pairs.flatMap(server => {
      const [name, url] = [textOf(server[nameField]), textOf(server[urlField])]
      return name === undefined || url === undefined ? [] : [[name, url] as const]
    }),
  )
}
