import { rpcError } from '../../../shared/contract/error-reasons.js'
import { isShortId } from '../../../shared/values/short-id.js'
import type { ShortIdPlace, ShortIdStore } from '../../store/store.js'

/** Candidates that an error names; more of them are only mentioned. */
const maxCandidates = 5

/**
 * Returns the one id with this short form in a place; undefined for an unknown short form, or for text that is no short
 * id.
 * @param noun the noun of the rows in the error's message, in the plural
 * @param others ids that the text stands for in another way, for instance of a user with this name
 * @throws RpcError `BAD_REQUEST` (ambiguous_id) for several ids; the message names at most five
 */
export async function idOfShortId(
  store: ShortIdStore,
  { text, place, noun, others = [] }: { text: string; place: ShortIdPlace; noun: string; others?: readonly string[] },
): Promise<string | undefined> {
  if (!isShortId(text)) return undefined
  const found = await store.findByShortId({ place, shortId: text.toLowerCase(), limit: maxCandidates + 1 })
  const ids = [...new Set([...others, ...found])]
  if (ids.length <= 1) return ids[0]
  const candidates = ids.slice(0, maxCandidates).join(', ') + (ids.length > maxCandidates ? ' and more' : '')
  throw rpcError('ambiguous_id', `${text} stands for several ${noun}: ${candidates}; give a whole id`)
}
