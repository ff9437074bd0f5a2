import { openJournalOutbox } from '../../client/bridge/outbox/journal-outbox.js'
import type { Outbox, OutboxRest } from '../../client/bridge/outbox/outbox.js'
import { createRecordSender } from '../../client/bridge/outbox/record-sender.js'
import type { BridgeClient } from '../../client/bridge-client.js'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { RpcError } from '../../shared/rpc/errors.js'
import type { Logger } from '../../shared/values/log.js'
import type { OutboxConfig } from '../config/config.js'

/** Parts of an outbox beside its settings. */
export interface OutboxParts {
  client: BridgeClient
  /** the UUID with which `client` connects */
  daemonInstance: string
  logger: Logger
}

/**
 * Opens the outbox of a bridge by its settings; undefined for one in memory, which is logged as a warning.
 * @throws RpcError `PRECONDITION_FAILED` (data_in_use, or outbox_unwritable) with the setting that helps
 */
export async function openOutbox(config: OutboxConfig, parts: OutboxParts): Promise<Outbox | undefined> {
  const { outboxFolder: folder, outboxFsync: fsync } = config
  const { client, daemonInstance, logger } = parts
  if (folder === undefined) {
    logger.warn({}, 'the outbox is in memory: a process that is killed loses the records that wait there')
    return undefined
  }
  try {
    return await openJournalOutbox({
      send: createRecordSender(client),
      declareGone: (daemonInstances, signal) => client.recorder.endAbandoned.mutate({ daemonInstances }, { signal }),
      folder,
      fsync,
      daemonInstance,
      logger,
    })
  } catch (error) {
    if (error instanceof RpcError) throw error
    const cause = error instanceof Error ? error.message : String(error)
    const advice = 'name another folder with --outbox, or keep records in memory with --outbox none'
    throw rpcError('outbox_unwritable', `the outbox ${folder} cannot be opened: ${cause}; ${advice}`)
  }
}

/** Returns whether an outbox lost records: the process then exits with 1. */
export function hasLost({ left, kept }: OutboxRest): boolean {
  return left > kept
}
