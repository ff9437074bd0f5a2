import { utf8Bytes } from '../../values/text.js'
import { copyJson, messageTooLarge, notEncodable } from './json-copy.js'
import { shapeFault } from './json-shape.js'

/**
 * Returns the JSON text of a message.
 * @throws RpcError as {@link Duplex.send}: the error that the in-memory link throws for the same value
 */
export function encodeMessage(message: object, maxBytes: number): string {
  let text: string
  try {
    text = JSON.stringify(message)
  } catch (error) {
    copyJson(message, Number.POSITIVE_INFINITY)
    throw notEncodable(error instanceof Error ? error.message : String(error), error)
  }
  const fault = shapeFault(text)
  if (fault) throw notEncodable(fault)
  // A code unit is one to three bytes of UTF-8, so the bytes need to be counted in between only.
  if (text.length * 3 > maxBytes) {
    const bytes = utf8Bytes(text)
    if (bytes > maxBytes) throw messageTooLarge(bytes, maxBytes)
  }
  return text
}
