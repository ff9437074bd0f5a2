import { RpcError } from '../../../shared/rpc/errors.js'
import { parseApiKey } from '../../services/api-key.js'

/**
 * Returns the id of the key that a person names: an id as it is, or the part of a whole key before its dash. The secret
 * of a whole key goes no further than this function.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for any other text. The message does not repeat the text: a cut key
 *   holds most of a secret.
 */
export function keyIdOf(word: string): string {
  const text = word.trim()
  if (/^[A-Za-z0-9]{10}$/.test(text)) return text
  const whole = parseApiKey(text)
  if (whole) return whole.id
  const rule = 'must be the id of a key, 10 characters of [A-Za-z0-9], or a whole key, ID-SECRET'
  throw new RpcError('BAD_REQUEST', `id: ${rule} (got a text of length ${word.length})`, { reason: 'config_invalid' })
}
