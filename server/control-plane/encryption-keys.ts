import { RpcError } from '../../shared/rpc/errors.js'
import { secretPlaces } from '../services/admin/secret-rotation.js'
import type { SecretBox } from '../services/secrets.js'
import type { SecretColumn, SecretStore } from '../store/store.js'

/**
 * Rejects keys that open none of the secrets in the database: a server with such keys would serve no provider, and
 * would seal new secrets beside unreadable ones.
 * @param source names the keys in the message
 * @throws RpcError `BAD_REQUEST` (config_invalid)
 */
export async function checkEncryptionKeys(store: SecretStore, secrets: SecretBox, source: string): Promise<void> {
  let problem: string | undefined
  for await (const { name, place, sealed } of storedSecrets(store)) {
    try {
      secrets.open(sealed, place)
      return
    } catch (error) {
      problem = `${name} is ${error instanceof Error ? error.message : String(error)}`
    }
  }
  if (problem === undefined) return
  const message = `${source}: opens none of the secrets in the database (${problem}); give the key that sealed them`
  throw new RpcError('BAD_REQUEST', message, { reason: 'config_invalid' })
}

async function* storedSecrets(store: SecretStore) {
  const limit = 200
  for (const column of Object.keys(secretPlaces) as SecretColumn[]) {
    // the keys of its type
    let after: readonly string[] | undefined
    do {
      const page = await store.listSecrets({ column, after, limit })
      for (const { key, sealed } of page) {
        yield { name: `${column} of ${key[0]}`, place: secretPlaces[column](key), sealed }
      }
      after = page.length === limit ? page.at(-1)?.key : undefined
    } while (after)
  }
}
