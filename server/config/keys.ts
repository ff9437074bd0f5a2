/** The forms of the operator's token and of the encryption keys. No error shows a secret. */
import { invalid } from './config-error.js'

/** Setting → the file in the data directory that holds the secret while the setting is not set. */
export const secretFiles = { adminToken: 'admin-token', encryptionKey: 'encryption-key' } as const

/**
 * Returns the token if it fits into a header and is hard to guess.
 * @param source the file or variable that holds the token, for the error message
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the token in its message
 */
export function checkAdminToken(token: string, source: string): string {
  const problem = adminTokenProblem(token)
  if (problem === undefined) return token
  throw invalid(`${source}: ${problem}`)
}

/** Returns why the text is no admin token; undefined for a good one. */
export function adminTokenProblem(token: string): string | undefined {
  if (/^[\x21-\x7e]{16,512}$/.test(token)) return undefined
  return `must be 16 to 512 printable ASCII characters without spaces; this one has ${token.length} characters`
}

/**
 * Reads one or two keys of 32 bytes, each in hex or base64, with a comma between them. The first key seals; both open,
 * so that a key can be replaced.
 * @param source the file or variable that holds the keys, for the error message
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the keys in its message
 */
export function parseEncryptionKeys(text: string, source: string): Uint8Array[] {
  const problem = encryptionKeysProblem(text)
  if (problem !== undefined) throw invalid(`${source}: ${problem}`)
  return splitKeys(text).map(key => new Uint8Array(keyBytes(key)))
}

/** Returns why the text is not one or two encryption keys; undefined for good ones. */
export function encryptionKeysProblem(text: string): string | undefined {
  const keys = splitKeys(text)
  if (keys.length > 2) return `must be one key or two with a comma between them, not ${keys.length}`
  const wrong = keys.findIndex(key => keyBytes(key).length !== 32 || !/^[0-9A-Za-z+/_=-]+$/.test(key))
  const length = keyBytes(keys[wrong] ?? '').length
  return wrong < 0
    ? undefined
    : `key ${wrong + 1} must be 32 bytes as 64 hex digits or as base64, but holds ${length}; make one with: openssl rand -base64 32`
}

function splitKeys(text: string): string[] {
  return text.split(',').map(part => part.trim())
}

function keyBytes(key: string): Buffer {
  return /^[0-9a-fA-F]{64}$/.test(key) ? Buffer.from(key, 'hex') : Buffer.from(key, 'base64')
}
