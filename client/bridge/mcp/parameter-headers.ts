/**
 * Headers that repeat arguments of a call: a tool of protocol 2026-07-28 may mark parameters with `x-mcp-header`, and
 * its server then wants their values in `Mcp-Param-*` too.
 */
import { isPlainObject, type JsonObject, type JsonValue } from '../../../shared/values/text.js'

/** A token of RFC 9110, section 5.6.2, without the rare characters. */
const token = /^[\w.-]{1,128}$/

/** Returns the headers for a call; none for most tools. */
export function parameterHeaders(schema: JsonObject, args: JsonObject): Record<string, string> {
  const headers: Record<string, string> = {}
  const { properties } = schema
  if (!isPlainObject(properties)) return headers
  for (const [name, property] of Object.entries(properties)) {
    const value = Object.hasOwn(args, name) ? args[name] : undefined
    if (!isPlainObject(property) || value === undefined || value === null) continue
    const header = property['x-mcp-header']
    if (typeof header === 'string' && token.test(header)) {
      const text = textOf(value)
      if (text !== undefined) headers[`Mcp-Param-${header}`] = encoded(text)
    } else if (isPlainObject(value)) Object.assign(headers, parameterHeaders(property as JsonObject, value)) // of a JSON schema
  }
  return headers
}

function textOf(value: JsonValue): string | undefined {
  return typeof value === 'object' ? undefined : String(value)
}

/** Other text than printable ASCII stands in the protocol's form of base64. */
function encoded(text: string): string {
  const isPlain = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !/^=\?base64\?.*\?=$/i.test(text)
  return isPlain ? text : `=?base64?${Buffer.from(text).toString('base64')}?=`
}
