/** Errors of calls as sentences for people. */

/** Returns a field of a failed call's data, such as `reason` or `code`. */
function field(error: unknown, name: string): string | undefined {
  const value: unknown = Reflect.get(Object(Reflect.get(Object(error), 'data')), name)
  return typeof value === 'string' ? value : undefined
}

/** Returns the reason of a failed call, such as `name_taken`. */
export function reasonOf(error: unknown): string | undefined {
  return field(error, 'reason')
}

/** Returns whether a call failed since the row does not exist, or belongs to another person. */
export function isNotFound(error: unknown): boolean {
  return field(error, 'code') === 'NOT_FOUND'
}

/** Returns whether a call failed since the server knows no such procedure. */
export function isUnknownProcedure(error: unknown): boolean {
  return /^No procedure found|no (such )?procedure/i.test(messageOf(error))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Returns one sentence about a failed call. */
export function errorText(error: unknown): string {
  const code = field(error, 'code')
  if (code === 'TIMEOUT') return 'The server did not answer in time.'
  const message = messageOf(error).replace(/\s*\([a-z_]+\)$/, '')
  return message === ''
    ? 'The call failed.'
    : message[0]?.toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? '' : '.')
}
