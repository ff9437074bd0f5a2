/** Compares the bridge's records with the prompt and with the responses of the stand-in. */
import type { InterceptionDetail, InterceptionsPage } from '../../shared/contract/admin/interceptions.js'
import { requestKindKey } from '../../shared/contract/request-kinds.js'
import { type Json, runJson } from '../e2e/process.js'
import type { Given } from './stand-in.js'

type Detail = Json<InterceptionDetail>

/** The facts that the records must show. */
export interface Expected {
  client: string | null
  /** undefined if the client did not report one, null if it has none */
  sessionId: string | null | undefined
  provider: string
  credentialKind: 'centralized' | 'byok'
  prompt: string
  given: readonly Given[]
}

/** Longer than any end takes to be stored on a busy machine. */
const storedWithinMs = 15_000

/** Waits until all interceptions of a user have ended, for a bounded time, and returns them, oldest first. */
export async function recordsOf(user: string, flags: readonly string[]): Promise<Detail[]> {
  const deadline = performance.now() + storedWithinMs
  for (;;) {
    const page = await runJson<InterceptionsPage>(['interceptions', 'list', '--user', user, '--limit', '200', ...flags])
    const { interceptions } = page
    if (interceptions.every(({ endedAt }) => endedAt !== null) || performance.now() > deadline) {
      const show = ({ id }: { id: string }) => runJson<InterceptionDetail>(['interceptions', 'show', id, ...flags])
      return Promise.all(interceptions.reverse().map(show))
    }
  }
}

/** Returns every difference between the records and the expected facts, in words. */
export function differences(records: readonly Detail[], expected: Expected): string[] {
  const found: string[] = []
  const same = (what: string, is: unknown, should: unknown): void => {
    const [seen, wanted] = [JSON.stringify(is), JSON.stringify(should)]
    if (seen !== wanted) found.push(`${what} is ${shortened(seen)} instead of ${shortened(wanted)}`)
  }
  const { given } = expected
  const recordOf = (response: Given | undefined) =>
    records.find(({ tokenUsages }) => tokenUsages.some(({ msgId }) => msgId === response?.id))
  const call = given.find(({ role }) => role === 'call')
  const lastWords = given.find(({ role }) => role === 'last words')
  if (!call) found.push('no request had a suitable tool')
  if (!lastWords) found.push('no request brought the tool result')
  same('the number of records', records.length, given.length)
  for (const [index, { interception }] of records.entries()) {
    const which = `of request ${index + 1}`
    same(`the client ${which}`, interception.client, expected.client)
    same(`the provider ${which}`, interception.providerName, expected.provider)
    same(`the kind of credential ${which}`, interception.credentialKind, expected.credentialKind)
    same(`the error ${which}`, interception.errorMessage ?? interception.errorType, null)
    if (interception.endedAt === null) found.push(`request ${index + 1} has no end`)
    if (expected.sessionId === undefined) found.push('the client reported no session')
    else same(`the session ${which}`, interception.clientSessionId, expected.sessionId)
  }
  for (const response of given) {
    const record = recordOf(response)
    if (!record) {
      found.push(`the tokens of ${response.id} are not recorded`)
      continue
    }
    const { input, output, cacheRead, cacheWrite } = response.usage
    const counts = record.tokenUsages.map(usage => [
      usage.inputTokens,
      usage.outputTokens,
      usage.cacheReadInputTokens,
      usage.cacheWriteInputTokens,
    ])
    same(`the tokens of ${response.id}`, counts, [[input, output, cacheRead, cacheWrite]])
    same(`the model of ${response.id}`, record.interception.model, response.model)
    const tools = record.toolUsages.map(({ tool, toolCallId, injected }) => [tool, toolCallId, injected])
    same(`the tools of ${response.id}`, tools, response.tool ? [[response.tool.name, response.tool.callId, false]] : [])
  }
  const [first, second] = [recordOf(call), recordOf(lastWords)]
  if (first)
    same(
      'the prompt',
      first.promptUsages.map(({ prompt }) => prompt),
      [expected.prompt],
    )
  // The client's own requests, such as one for a title, repeat the prompt and say so.
  const isUsers = ({ metadata }: { metadata: object | null }) => !(requestKindKey in (metadata ?? {}))
  same(
    'the prompts of the user',
    records.flatMap(({ promptUsages }) => promptUsages.filter(isUsers).map(({ prompt }) => prompt)),
    [expected.prompt],
  )
  if (second) {
    same(
      'the prompt of the tool result',
      second.promptUsages.map(({ prompt }) => prompt),
      [],
    )
    same(
      'the tool call that the second request continues',
      second.interception.correlatingToolCallId,
      call?.tool?.callId,
    )
    same('the parent of the second request', second.interception.parentId, first?.interception.id)
  }
  return found
}

function shortened(json: string | undefined): string {
  return json === undefined || json.length <= 200 ? String(json) : `${json.slice(0, 120)}…${json.slice(-70)}`
}
