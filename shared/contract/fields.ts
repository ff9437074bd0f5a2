/** The field types that several schemas share. Every text is cleaned (see text.ts) before any other check. */
import { z } from 'zod'
import { isShortId } from '../values/short-id.js'
import {
  cleanJsonObject,
  cleanText,
  cutToBytes,
  isPlainObject,
  type JsonObject,
  JsonRejected,
  utf8Bytes,
} from '../values/text.js'
import { recordLimits } from './limits.js'

/** Text of at most `maxLength` UTF-16 code units. */
export const text = (maxLength: number) => z.string().max(maxLength).overwrite(cleanText)

/** A name made by a provider, a client or a model; not empty. */
export const name = text(recordLimits.maxNameLength).min(1)

/** Any UUID, as lower-case text. */
export const uuid = z.guid().toLowerCase()

/**
 * The last 12 digits of a UUID, as lists print it for people; lower-case text. Procedures that take one look for the id
 * that has it.
 */
export const shortId = z.string().refine(isShortId, 'must be 12 hexadecimal digits').toLowerCase()

/** The public part of an API key: the 10 characters before its dash. */
export const apiKeyId = z.string().regex(/^[A-Za-z0-9]{10}$/, 'must be 10 characters of [A-Za-z0-9]')

/** The name of a provider or MCP server. */
export const slug = z.string().regex(/^[a-z0-9-]{1,32}$/, 'must be 1 to 32 characters of [a-z0-9-]')

/** A point in time between the years 1970 and 9999, UTC, to the millisecond. */
export const time = z
  .date()
  .min(new Date(0), 'must not lie before 1970')
  .max(new Date('9999-12-31T23:59:59.999Z'), 'must not lie after the year 9999')

/** A count of tokens in [0, 1e12]. */
export const tokenCount = z.number().int().min(0).max(recordLimits.maxTokens)

/** Content, which is cut, not rejected, if too long; see {@link cutContent}. */
export const content = z.string().overwrite(cleanText)

/** A JSON object of at most 64 KiB. */
export const metadata = z
  .custom<JsonObject>(() => true)
  .transform((value, context): JsonObject => {
    try {
      return cleanJsonObject(value, recordLimits.maxMetadataBytes, recordLimits.maxMetadataDepth)
    } catch (error) {
      if (!(error instanceof JsonRejected)) throw error
      context.issues.push({ code: 'custom', message: `metadata ${error.message}`, input: value })
      return z.NEVER
    }
  })

/** The key of `metadata` under which the sizes of cut content fields stand, in bytes: `{prompt: 2000000}`. */
export const originalBytesKey = 'original_bytes'

/**
 * Cuts the named fields of a record to `maxBytes` (`maxContentBytes`) at a character boundary and keeps the original
 * size in `metadata.original_bytes`. Short content leaves the record unchanged.
 */
export function cutContent<R extends object>(
  record: R,
  fields: readonly FieldOf<R>[],
  maxBytes: number = recordLimits.maxContentBytes,
): R {
  let cut: R & { metadata?: JsonObject } = record
  for (const field of fields) {
    const value: unknown = Reflect.get(record, field)
    if (typeof value !== 'string') continue
    const short = cutToBytes(value, maxBytes)
    if (short === value) continue
    // The sizes of other fields stay: the sender may have cut those fields.
    const known = cut.metadata?.[originalBytesKey]
    const sizes = { ...(isPlainObject(known) ? known : {}), [field]: utf8Bytes(value) }
    cut = { ...cut, [field]: short, metadata: { ...cut.metadata, [originalBytesKey]: sizes } }
  }
  return cut
}

/** A field of any record of a union. */
type FieldOf<R> = R extends unknown ? keyof R & string : never
