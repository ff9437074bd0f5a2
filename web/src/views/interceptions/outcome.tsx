import type { Interception } from '../../../../shared/contract/admin/interceptions.js'
import type { ErrorType } from '../../../../shared/contract/recorder.js'
import { Status } from '../../parts/status.js'

/** Words for the failures of requests. */
export const errorLabels: Readonly<Record<ErrorType, string>> = {
  bad_request: 'Bad request',
  unauthorized: 'Unauthorized',
  billing: 'Not paid',
  rate_limited: 'Rate limited',
  overloaded: 'Overloaded',
  server_error: 'Server error',
  timeout: 'Timeout',
  unreachable: 'Unreachable',
  client_closed: 'Client left',
  refused: 'Declined',
  unknown: 'Failed',
}

/** Returns the words for a failure. */
export function errorLabel(errorType: string): string {
  return (errorLabels as Readonly<Record<string, string>>)[errorType] ?? errorType.replaceAll('_', ' ') // newer servers know more
}

/** How a request has ended, or that it still runs. */
export function Outcome({ row }: { row: Pick<Interception, 'endedAt' | 'errorType' | 'errorMessage' | 'endedBy'> }) {
  if (!row.endedAt) {
    return (
      <Status tone="info" busy>
        Running
      </Status>
    )
  }
  if (row.errorType) {
    return (
      <Status tone={row.errorType === 'client_closed' ? 'warn' : 'bad'} title={row.errorMessage ?? undefined}>
        {errorLabel(row.errorType)}
      </Status>
    )
  }
  if (row.endedBy) {
    return (
      <Status tone="warn" title="The daemon is gone. The control plane has ended the request in its place.">
        Abandoned
      </Status>
    )
  }
  return <Status tone="ok">Done</Status>
}
