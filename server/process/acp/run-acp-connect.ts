/** Connects an editor that knows only agents on stdio to a remote one. */
import { createAcpClient } from '../../../client/acp/acp-client.js'
import { errorResponse } from '../../../shared/acp/messages.js'
import { ndjsonDuplex } from '../../../shared/acp/ndjson-duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { readCaFile } from '../../config/ca-file.js'
import { acpConnectConfig } from '../../config/config.js'
import type { Environment, Flags } from '../../config/sources.js'
import { createLogger } from '../logger.js'
import { watchStopSignals } from '../stop-signals.js'
import { readAcpKey } from './acp-key.js'
import { ConnectRelay } from './connect-relay.js'

/**
 * Relays until stdin ends or a signal comes, and returns the exit code: 0, or 1 after an uncaught exception. Stdout
 * carries messages only.
 * @throws RpcError if the server rejects the key or the first connection; with `server_unreachable` if there is no
 *   server
 */
export async function runAcpConnect(url: string, flags: Flags, environment: Environment): Promise<number> {
  const config = acpConnectConfig(flags, environment)
  const key = await readAcpKey(config)
  const tls = await readCaFile(config.caFile)
  const logger = createLogger({ level: config.logLevel, secrets: [key] })
  const options = {
    url,
    ...(key !== undefined && { headers: { authorization: `Bearer ${key}` } }),
    ...(tls && { tls }),
    onError: (error: RpcError<string>) =>
      logger.debug({ err: error }, 'a message was not delivered, or a connection lost'),
  }
  // The editor may wait for nothing but a wrong URL.
  createAcpClient(options)
  const stop = watchStopSignals(logger)
  const editor = ndjsonDuplex(process.stdin, process.stdout, {
    onInvalidLine: error => editor.send(errorResponse(null, RpcError.from(error))),
    endOutput: () => {},
  })
  const relay = new ConnectRelay({ editor, connect: () => createAcpClient(options), logger })
  const cause = await Promise.race([stop.requested, relay.ended])
  if (cause !== undefined && 'kind' in cause) await relay.close()
  // The last response has been written when this write has.
  await new Promise<void>(resolve => process.stdout.write('', () => resolve()))
  if (cause === undefined) return 0
  if ('kind' in cause) return cause.kind === 'fault' ? 1 : 0
  const { code, message, reason } = cause
  throw new RpcError<string>(code, message, { reason: reason === 'unreachable' ? 'server_unreachable' : reason, cause })
}
