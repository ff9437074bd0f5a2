/** The errors of OpenAI's APIs (https://platform.openai.com/docs/guides/error-codes). */

/** Returns the JSON text of an error of the bridge itself. */
export function openaiErrorBody(status: number, message: string): string {
  const { type, code } = errorNames[status] ?? {
    type: status >= 500 ? 'server_error' : 'invalid_request_error',
    code: null,
  }
  return JSON.stringify({ error: { message, type, param: null, code } })
}

/** Status → the names of the error. */
const errorNames: Record<number, { type: string; code: string | null }> = {
  401: { type: 'invalid_request_error', code: 'invalid_api_key' },
  403: { type: 'invalid_request_error', code: 'permission_denied' },
  429: { type: 'requests', code: 'rate_limit_exceeded' },
  504: { type: 'server_error', code: 'timeout' },
}
