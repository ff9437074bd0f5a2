/** Field types of several of the operators' procedures. */
import { z } from 'zod'
import { text } from '../fields.js'
import { mcpLimits, recordLimits } from '../limits.js'

/** An `@` before the path ends credentials; URLs take any number of slashes, of both kinds, before a host. */
export const httpUrl = text(recordLimits.maxUrlLength)
  .pipe(z.url({ protocol: /^https?$/, error: 'must begin with http:// or https://' }))
  .refine(url => !/[?#]|^https?:[/\\]*[^/\\]*@/i.test(url), 'must have no credentials, query or fragment')

/** Printable ASCII, because the token travels in a header. */
export const token = z
  .string()
  .min(1)
  .max(mcpLimits.maxTokenLength)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
