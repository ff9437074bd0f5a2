import type { Logger } from '../../../shared/values/log.js'
import type { StoredRecord } from '../../store/store.js'

/** Writes a record as one log line, `interception log`, with its `record_type`; content and `metadata` are left out. */
export function logRecord(logger: Logger, stored: StoredRecord): void {
  logger.info(fieldsOf(stored), 'interception log')
}

function fieldsOf({ kind, record }: StoredRecord): object {
  switch (kind) {
    case 'interception': {
      const { id, metadata: _, ...fields } = record
      return { record_type: 'interception_start', interceptionId: id, ...fields }
    }
    case 'interceptionEnded': {
      const { id, endedAt, credentialHint, errorType } = record
      return { record_type: 'interception_end', interceptionId: id, endedAt, credentialHint, errorType }
    }
    case 'tokenUsage': {
      const { metadata: _, ...fields } = record
      return { record_type: 'token_usage', ...fields }
    }
    case 'promptUsage': {
      const { metadata: _, prompt, ...fields } = record
      return { record_type: 'prompt_usage', ...fields, promptLength: prompt.length }
    }
    case 'toolUsage': {
      const { metadata: _, input, invocationError, ...fields } = record
      return { record_type: 'tool_usage', ...fields, inputLength: input.length, failed: invocationError !== undefined }
    }
    case 'modelThought': {
      const { metadata: _, content, ...fields } = record
      return { record_type: 'model_thought', ...fields, contentLength: content.length }
    }
  }
}
