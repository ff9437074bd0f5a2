import type { z } from 'zod'
import { RpcError } from '../../shared/rpc/errors.js'
import { shownText } from './shown-text.js'

/**
 * Checks an input against its schema.
 * @throws RpcError `BAD_REQUEST` whose message names each path, the broken rule and the value; see
 *   {@link describeIssues}
 */
export function checkInput<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  throw new RpcError('BAD_REQUEST', describeIssues(result.error.issues, input))
}

/**
 * Describes the faults of an input for the sender: `inputTokens: Too small: expected number to be >=0 (got -1)`. Text
 * is shown only from fields that hold neither content nor a secret, only if short, and never if the text looks like a
 * key; of any other value the kind and size are named.
 */
export function describeIssues(issues: readonly z.core.$ZodIssue[], input: unknown): string {
  const shown = issues.slice(0, maxShownIssues).map(issue => describeIssue(issue, input))
  if (issues.length > maxShownIssues) shown.push(`and ${issues.length - maxShownIssues} more`)
  return shown.join('; ')
}

const maxShownIssues = 3

/** Fields whose text may stand in an error message. An unlisted field might hold content or a secret. */
const shownFields = new Set([
  'kind',
  'id',
  'interceptionId',
  'initiatorId',
  'provider',
  'providerName',
  'name',
  'username',
  'user',
  'status',
  'errorType',
  'action',
  'type',
  'credentialKind',
  'clientSessionId',
  'client',
  'model',
  'startedAt',
  'endedAt',
  'createdAt',
  'expiresAt',
  'from',
  'to',
])

function describeIssue(issue: z.core.$ZodIssue, input: unknown): string {
  const value = issue.path.reduce(fieldOf, input)
  const path = issue.path.length === 0 ? 'input' : issue.path.map(String).join('.')
  return `${path}: ${issue.message} (got ${describeValue(value, issue.path.at(-1))})`
}

function fieldOf(value: unknown, key: PropertyKey): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined
}

function describeValue(value: unknown, field: PropertyKey | undefined): string {
  switch (typeof value) {
    case 'string':
      return typeof field === 'string' && shownFields.has(field) ? shownText(value) : `a text of length ${value.length}`
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'object':
      if (value === null) return 'null'
      if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid date' : value.toISOString()
      return Array.isArray(value) ? `a list of ${value.length}` : 'an object'
    default:
      return `a ${typeof value}`
  }
}
