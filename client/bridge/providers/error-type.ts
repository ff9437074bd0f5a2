import type { ErrorType } from '../../../shared/contract/recorder.js'

/** The error of an interception, as it is recorded. */
export interface Failure {
  type: ErrorType
  message: string
  /** set if the message is the provider's, which may quote the request */
  isQuoted?: true
}

/** Returns the recorded type of error for a provider's status; undefined for success. */
export function errorTypeOfStatus(status: number): ErrorType | undefined {
  if (status < 300) return undefined
  switch (status) {
    case 401:
    case 403:
      return 'unauthorized'
    case 402:
      return 'billing'
    case 408:
    case 504:
      return 'timeout'
    case 429:
      return 'rate_limited'
    case 503:
    case 529:
      return 'overloaded'
    default:
      if (status >= 400 && status < 500) return 'bad_request'
      return status >= 500 && status < 600 ? 'server_error' : 'unknown'
  }
}
