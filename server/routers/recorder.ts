import { confirmErasuresInput, retireOutboxInput, watchErasuresInput } from '../../shared/contract/erasures.js'
import type { RecordProcedureName } from '../../shared/contract/record-kinds.js'
import { endAbandonedInput, recordBatchInput, recordSchemas } from '../../shared/contract/recorder.js'
import { checked, daemonProcedure, forDaemon, router } from './trpc.js'

/**
 * Reports of daemons about AI requests, and the erasures that their outboxes confirm; the rules are in
 * services/daemon/recorder.ts and services/daemon/erasures.ts.
 */
export const recorderRouter = router({
  recordInterception: daemonProcedure
    .input(checked(recordSchemas.interception))
    .mutation(forDaemon(({ recorder }, record, daemon) => recorder.record({ kind: 'interception', record }, daemon))),
  recordInterceptionEnded: daemonProcedure
    .input(checked(recordSchemas.interceptionEnded))
    .mutation(
      forDaemon(({ recorder }, record, daemon) => recorder.record({ kind: 'interceptionEnded', record }, daemon)),
    ),
  recordTokenUsage: daemonProcedure
    .input(checked(recordSchemas.tokenUsage))
    .mutation(forDaemon(({ recorder }, record, daemon) => recorder.record({ kind: 'tokenUsage', record }, daemon))),
  recordPromptUsage: daemonProcedure
    .input(checked(recordSchemas.promptUsage))
    .mutation(forDaemon(({ recorder }, record, daemon) => recorder.record({ kind: 'promptUsage', record }, daemon))),
  recordToolUsage: daemonProcedure
    .input(checked(recordSchemas.toolUsage))
    .mutation(forDaemon(({ recorder }, record, daemon) => recorder.record({ kind: 'toolUsage', record }, daemon))),
  recordModelThought: daemonProcedure
    .input(checked(recordSchemas.modelThought))
    .mutation(forDaemon(({ recorder }, record, daemon) => recorder.record({ kind: 'modelThought', record }, daemon))),
  recordBatch: daemonProcedure
    .input(checked(recordBatchInput))
    .mutation(forDaemon(({ recorder }, { records }, daemon) => recorder.recordBatch(records, daemon))),
  endAbandoned: daemonProcedure
    .input(checked(endAbandonedInput))
    .mutation(forDaemon(({ abandoned }, input, daemon, { signal }) => abandoned.endAbandoned(input, daemon, signal))),
  watchErasures: daemonProcedure
    .input(checked(watchErasuresInput))
    .subscription(forDaemon(({ erasures }, input, daemon, call) => erasures.watch(input, daemon, call.signal))),
  confirmErasures: daemonProcedure
    .input(checked(confirmErasuresInput))
    .mutation(forDaemon(({ erasures }, input, daemon, call) => erasures.confirm(input, daemon, call.signal))),
  retireOutbox: daemonProcedure
    .input(checked(retireOutboxInput))
    .mutation(forDaemon(({ erasures }, input, daemon) => erasures.retire(input, daemon))),
  ready: daemonProcedure.query(forDaemon(({ recorder }) => recorder.ready())),
} satisfies Record<RecordProcedureName | OtherProcedureName, unknown>)

type OtherProcedureName =
  | 'recordBatch'
  | 'endAbandoned'
  | 'watchErasures'
  | 'confirmErasures'
  | 'retireOutbox'
  | 'ready'
