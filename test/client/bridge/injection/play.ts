/** Plays the loop of rounds around an {@link InjectionApi}, without a network. */
import type {
  HiddenCall,
  HiddenTurn,
  InjectedRequest,
  InjectionApi,
  RoundEnd,
} from '../../../../client/bridge/injection/injection-api.js'
import type { InjectedTool, ToolResult } from '../../../../client/bridge/mcp/injected-tool.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { fc } from '../../../fixtures/random.js'

export const injected = (fullName: string): InjectedTool => ({
  fullName,
  bareName: fullName.replace('bmcp_wiki_', ''),
  serverId: 'wiki',
  serverUrl: 'http://127.0.0.1:1/mcp',
  description: `Tool ${fullName}`,
  inputSchema: { type: 'object', properties: {} },
})

/** A result that names its call, so that no two are equal. */
export const resultOf = (call: HiddenCall): ToolResult => ({
  isError: false,
  parts: [{ type: 'text', text: `result of ${call.callId} ${call.name} ${call.input}` }],
  durationMs: 1,
})

export interface Play {
  api: InjectionApi
  /** the client's request */
  request: JsonObject
  tools: readonly InjectedTool[]
  turns?: readonly HiddenTurn[]
  mayAskForUsage?: boolean
  /** the provider's response to each round, which may depend on the body that the provider gets */
  responses: readonly (string | ((body: JsonObject) => string))[]
  /** Cuts a response into chunks. */
  cut?: (bytes: Buffer) => Buffer[]
  result?: (call: HiddenCall) => ToolResult
}

export interface Played {
  /** the client's response */
  text: string
  /** number of outputs with more than blanks that were marked as the last one */
  lasts: number
  /** the bodies of the rounds */
  bodies: string[]
  ends: RoundEnd[]
  turn: HiddenTurn | undefined
  injected: InjectedRequest
}

/** Plays the rounds of a request to the end of the client's response. */
export function play({
  api,
  request,
  tools,
  turns = [],
  mayAskForUsage = false,
  responses,
  cut,
  result,
}: Play): Played {
  const body = Buffer.from(JSON.stringify(request))
  const own = api.open({ json: request, body, tools, turns, mayAskForUsage })
  const played: Played = { text: '', lasts: 0, bodies: [], ends: [], turn: undefined, injected: own }
  for (const response of responses) {
    const sent = Buffer.concat(own.body()).toString()
    played.bodies.push(sent)
    const round = own.beginRound()
    const bytes = Buffer.from(typeof response === 'string' ? response : response(JSON.parse(sent)))
    for (const chunk of cut?.(bytes) ?? [bytes]) {
      const { bytes: shown, isLast } = round.push(chunk)
      played.text += shown.toString()
      if (isLast && shown.toString().trim() !== '') played.lasts++
    }
    const end = round.end()
    played.ends.push(end)
    own.addResults(end.calls.map(call => ({ call, result: (result ?? resultOf)(call) })))
    played.text += end.held.bytes.toString()
    if (end.held.isLast && end.held.bytes.length > 0) played.lasts++
    if (end.isFinal) break
  }
  played.turn = own.turn()
  return played
}

/** Cuts of a stream at any bytes. */
export const cuts = fc.array(fc.nat(4_000), { maxLength: 8 }).map(places => (bytes: Buffer): Buffer[] => {
  const inside = [...new Set(places.map(place => place % (bytes.length + 1)))].sort((a, b) => a - b)
  const edges = [0, ...inside, bytes.length]
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end))
})

/** The data of the events of a stream. */
export function dataOf(text: string): string[] {
  return text.split('\n\n').flatMap(event => /^data: (.*)$/m.exec(event)?.[1] ?? [])
}
