/** Calls a running server for a command of a user: the `chats` router over the WebSocket link, with an API key. */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { BridgeClient } from '../../../client/bridge-client.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { clientConfig } from '../../config/config.js'
import { invalid } from '../../config/config-error.js'
import { invocation } from '../../process/invocation.js'
import { withControlPlane } from './control-plane-client.js'
import { type CommonOptions, withCommonOptions, withEnvironmentHelp } from './options.js'

/** Options of a user's command. */
export interface UserOptions extends CommonOptions {
  /** an API key, or `-` for stdin */
  key?: string
  keyFile?: string
}

/** The variable that holds a user's API key. */
const keyVariable = 'AIBRIDGE_KEY'

/** Adds the options of a user's command: the server's address, the key, and `--json`. */
export function withUserOptions(command: Command): Command {
  withCommonOptions(command)
    .option('--key <key>', `an API key of yours, or - for stdin; ${keyVariable}`)
    .option('--key-file <file>', 'a file that holds the key')
  return withEnvironmentHelp(command, 'Environment', [[keyVariable, 'an API key of yours']])
}

/**
 * Runs `work` with a client of the server that the options name. Every procedure of chats may be repeated, so calls are
 * sent again after a lost connection.
 * @throws RpcError `BAD_REQUEST` (config_invalid) without a key; else as {@link withControlPlane}
 */
export async function withUser<T>(
  options: UserOptions,
  work: (chats: BridgeClient['chats']) => Promise<T>,
): Promise<T> {
  const { key: _key, keyFile: _keyFile, ...common } = options
  const config = clientConfig({ ...common }, process.env)
  const key = await readKey(options)
  return withControlPlane(
    {
      config,
      key,
      rejectionOf(error) {
        const { status, reason } = error
        if ((status !== 401 && status !== 403) || reason === undefined) return undefined
        const problem = `the server at ${config.url} rejects the API key: ${error.message}`
        return new RpcError<string>(status === 401 ? 'UNAUTHORIZED' : 'FORBIDDEN', problem, { reason, cause: error })
      },
    },
    client => work(client.chats),
  )
}

async function readKey({ key, keyFile }: UserOptions): Promise<string> {
  if (key !== undefined && keyFile !== undefined) throw invalid('--key and --key-file: give one')
  const given =
    key === '-'
      ? await text(process.stdin)
      : (key ?? (keyFile === undefined ? process.env[keyVariable] : await fileText(keyFile)))
  const found = given?.trim() ?? ''
  if (found === '') {
    const problem = `no API key: give one with --key, --key-file or ${keyVariable}; an operator makes one with: ${invocation()} keys create --user NAME`
    throw rpcError('key_missing', problem)
  }
  return found
}

async function fileText(path: string): Promise<string> {
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found === undefined) throw invalid(`keyFile: ${path} cannot be read`)
  return found
}
