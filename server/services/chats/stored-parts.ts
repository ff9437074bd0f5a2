/** Parts as they are stored: JSON text, and the hash that decides whether a repeat is the same. */
import { createHash } from 'node:crypto'
import type { StoredPart } from './model.js'

/** Encodes parts for the store. */
export function storedParts(parts: readonly StoredPart[]): { parts: string; contentHash: Uint8Array } {
  const text = JSON.stringify(parts)
  return { parts: text, contentHash: createHash('sha256').update(text).digest() }
}

/** Decodes parts that {@link storedParts} has encoded, internal fields included. */
export function partsOf(row: { parts: string }): StoredPart[] {
  return JSON.parse(row.parts) as StoredPart[] // written by storedParts() only
}
