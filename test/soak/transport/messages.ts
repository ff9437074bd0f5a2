/** The messages of both ends as JSON texts, from valid ones to any JSON. */
import type { Message } from '../../../shared/rpc/duplex.js'
import type { Choice } from './choice.js'
import { encodedText, jsonText, recordText, usually } from './values.js'

const ids = ['1', '2', '3', '4', '1', '2', '"1"', '"a"', '0', '-1', '0.5', '1e308', '9007199254740993', '""', '"__proto__"'] // biome-ignore format: a list
const oddIds = ['null', 'true', '{}', '[]', '1e400', `"${'x'.repeat(1_025)}"`]

export type ProcedureKind = 'query' | 'mutation' | 'subscription'

/** Procedures of the server under test. */
export const procedures: Readonly<Record<string, ProcedureKind>> = {
  echo: 'query',
  strict: 'mutation',
  later: 'query',
  hang: 'query',
  fails: 'query',
  odd: 'query',
  big: 'query',
  'nested.deep': 'query',
  events: 'subscription',
  endless: 'subscription',
  observed: 'subscription',
  broken: 'subscription',
}
const names = Object.keys(procedures)
const oddPaths = ['', '__proto__', 'constructor', 'echo.constructor', 'no', 'x'.repeat(1_025)].map(path =>
  JSON.stringify(path),
)

/** A message of a client. */
export function clientText(choice: Choice): string {
  const dice = choice.next()
  if (dice < 0.04) return jsonText(choice, 2)
  if (dice < 0.06) return connectionParamsText(choice)
  if (dice < 0.26) return `{"id":${usually(choice, ids, oddIds, 0.98)},"method":"subscription.stop"}`
  const path = choice.pick(names)
  const kinds = ['"query"', '"mutation"', '"subscription"']
  const method = usually(choice, [`"${procedures[path]}"`], [...kinds, '"toString"', '"subscription.stop"', '1'], 0.9)
  const params = () =>
    choice.chance(0.97)
      ? recordText(choice, [
          ['path', 0.99, () => usually(choice, [`"${path}"`], [...oddPaths, '1', 'null'])],
          ['input', 0.8, () => encodedText(choice)],
          ['lastEventId', 0.1, () => usually(choice, ['"1"', '"2"', '""'], ['1', 'null', '{}'])],
          [
            'timeoutMs',
            0.15,
            () => usually(choice, ['1', '1e300', '0', '0.5', '1000', '2147483648'], ['-1', '"1"', 'null']),
          ],
          ['traceparent', 0.05, () => usually(choice, ['"00-x"'], ['1'])],
        ])
      : jsonText(choice, 2)
  return recordText(choice, [
    ['id', 0.995, () => usually(choice, ids, oddIds, 0.99)],
    ['jsonrpc', 0.1, () => usually(choice, ['"2.0"'], ['"1.0"', 'null', '2'])],
    ['method', 0.99, () => method],
    ['params', 0.98, params],
    ['result', 0.03, () => jsonText(choice, 1)],
    ['error', 0.03, () => jsonText(choice, 1)],
  ])
}

/** The first message for a URL with `?connectionParams=1`, or nearly so. */
export function connectionParamsText(choice: Choice): string {
  const data = usually(
    choice,
    ['{"authorization":"Bearer x"}', 'null', '{}'],
    ['{"a":1}', '[]', '1', '{"__proto__":"x"}'],
    0.85,
  )
  return `{"method":"connectionParams","data":${data}}`
}

const errorShape =
  '{"json":{"message":"made up","code":-32603,"data":{"code":"INTERNAL_SERVER_ERROR","httpStatus":500}}}'
const errors = [
  errorShape,
  errorShape.replace('"made up"', '1'),
  errorShape.replace('{"code":"INTERNAL_SERVER_ERROR","httpStatus":500}', 'null'),
  '{"json":{"message":"x","code":-32001,"data":{"code":"UNAUTHORIZED","mayHaveRun":false}}}',
  '{"json":null}',
  '1',
  'null',
] // biome-ignore format: a list

/** A message of a server. */
export function serverText(choice: Choice): string {
  const dice = choice.next()
  if (dice < 0.04) return jsonText(choice, 2)
  if (dice < 0.07)
    return usually(
      choice,
      ['{"id":null,"method":"reconnect"}'],
      ['{"method":"reconnect"}', '{"id":1,"method":"reconnect"}'],
    )
  if (dice < 0.1) return `{"id":null,"error":${choice.pick(errors)}}`
  const id = () => usually(choice, ['1', '2', '3', '4'], [...ids, ...oddIds], 0.95)
  if (dice < 0.3)
    return recordText(choice, [
      ['id', 0.99, id],
      ['error', 0.99, () => (choice.chance(0.8) ? choice.pick(errors) : encodedText(choice))],
      ['refused', 0.1, () => usually(choice, ['"draining"'], ['"x"', 'true'])],
      ['result', 0.05, () => jsonText(choice, 1)],
    ])
  const result = () =>
    choice.chance(0.97)
      ? recordText(choice, [
          [
            'type',
            0.95,
            () => usually(choice, ['"data"', '"data"', '"data"', '"started"', '"stopped"'], ['"x"', 'null', '1'], 0.97),
          ],
          ['data', 0.8, () => encodedText(choice)],
          ['id', 0.3, () => usually(choice, ['"1"', '"2"', '""'], ['1', 'null'], 0.97)],
        ])
      : jsonText(choice, 2)
  return recordText(choice, [
    ['id', 0.995, id],
    ['jsonrpc', 0.1, () => choice.pick(['"2.0"', '"1.0"', '1'])],
    ['result', 0.99, result],
  ])
}

/** A frame's text: a message, a batch, a batch in a batch, or a bare text. */
export function frameText(choice: Choice, message: (choice: Choice) => string): string {
  const dice = choice.next()
  if (dice < 0.75) return message(choice)
  if (dice < 0.88) return `[${choice.list(5, () => message(choice)).join(',')}]`
  if (dice < 0.9) return `[[${choice.list(3, () => message(choice)).join(',')}]]`
  if (dice < 0.97) return choice.pick(['PING', 'PONG'])
  return dice < 0.974
    ? `[${Array(choice.chance(0.98) ? 100 : 40_000)
        .fill(choice.pick(['1', '{}', '[]', '{"id":null,"error":1}']))
        .join(',')}]`
    : jsonText(choice)
}

/** Returns the message of a text on a link without frames; undefined for a text that such a link cannot carry. */
export function messageOf(text: string): Message | undefined {
  if (text === 'PING' || text === 'PONG') return text
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return typeof value === 'object' && value !== null ? value : undefined
}
