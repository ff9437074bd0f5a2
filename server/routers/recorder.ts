import type { RecordProcedureName } from '../../shared/contract/record-kinds.js'
import { recordBatchInput, recordSchemas } from '../../shared/contract/recorder.js'
import { checked, daemonProcedure, forDaemon, router } from './trpc.js'

/** Reports of daemons about AI requests; the rules are in services/daemon/recorder.ts. */
export const recorderRouter = router({
  recordInterception: daemonProcedure
    .input(checked(recordSchemas.interception))
    .mutation(forDaemon(({ recorder }, record) => recorder.record({ kind: 'interception', record }))),
  recordInterceptionEnded: daemonProcedure
    .input(checked(recordSchemas.interceptionEnded))
    .mutation(forDaemon(({ recorder }, record) => recorder.record({ kind: 'interceptionEnded', record }))),
  recordTokenUsage: daemonProcedure
    .input(checked(recordSchemas.tokenUsage))
    .mutation(forDaemon(({ recorder }, record) => recorder.record({ kind: 'tokenUsage', record }))),
  recordPromptUsage: daemonProcedure
    .input(checked(recordSchemas.promptUsage))
    .mutation(forDaemon(({ recorder }, record) => recorder.record({ kind: 'promptUsage', record }))),
  recordToolUsage: daemonProcedure
    .input(checked(recordSchemas.toolUsage))
    .mutation(forDaemon(({ recorder }, record) => recorder.record({ kind: 'toolUsage', record }))),
  recordModelThought: daemonProcedure
    .input(checked(recordSchemas.modelThought))
    .mutation(forDaemon(({ recorder }, record) => recorder.record({ kind: 'modelThought', record }))),
  recordBatch: daemonProcedure
    .input(checked(recordBatchInput))
    .mutation(forDaemon(({ recorder }, { records }) => recorder.recordBatch(records))),
} satisfies Record<RecordProcedureName | 'recordBatch', unknown>)
