/** Calls a running server for a command of a user: the `chats` router over the WebSocket link, with an API key. */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { DialError } from '../../../shared/rpc/dial-error.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { isApiKey, type UserConfig, userConfig, userKeyProblem } from '../../config/config.js'
import { invalid } from '../../config/config-error.js'
import { withControlPlane } from './control-plane-client.js'
import type { UserOptions } from './options.js'

/** The `chats` router's procedures. */
export type ChatsClient = BridgeClient['chats']

/**
 * Runs `work` with a client of the server that the options name.
 * @throws RpcError `BAD_REQUEST` (config_invalid) without a key; else as {@link withControlPlane}
 */
export async function withUser<T>(options: UserOptions, work: (chats: ChatsClient) => Promise<T>): Promise<T> {
  const config = userConfig({ ...options }, process.env)
  const key = await readKey(config)
  const access = { config, key, rejectionOf: (error: DialError) => rejectionOf(error, config) }
  return withControlPlane(access, client => work(client.chats))
}

/** Reads the key from where the configuration says: itself, a file, or stdin. */
async function readKey({ key, keyFile }: UserConfig): Promise<string> {
  if (key !== undefined && key !== '-') return key
  const given =
    keyFile === undefined ? await text(process.stdin) : await readFile(keyFile, 'utf8').catch(() => undefined)
  if (given === undefined) throw invalid(`keyFile: ${keyFile} cannot be read`)
  const found = given.trim()
  if (!isApiKey(found)) throw invalid(`the key of ${keyFile ?? 'stdin'} ${userKeyProblem}`)
  return found
}

function rejectionOf(error: DialError, { url }: UserConfig): RpcError<string> | undefined {
  const { status, reason, message } = error
  if ((status !== 401 && status !== 403) || reason === undefined) return undefined
  const code = status === 401 ? 'UNAUTHORIZED' : 'FORBIDDEN'
  return new RpcError<string>(code, `the server at ${url} rejects the API key: ${message}`, { reason, cause: error })
}
