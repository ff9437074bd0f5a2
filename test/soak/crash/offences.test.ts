import { expect, test } from 'vitest'
import { Choice } from '../transport/choice.js'
import type { Exchange } from './exchanges.js'
import { offencesOf } from './offences.js'
import { type Plan, planOf } from './plan.js'
import type { Stored } from './stored.js'

const id = '01900000-0000-7000-8000-000000000001'

const plan: Plan = {
  ...planOf('crash-1-0-1', new Choice(1)),
  status: 200,
  inputTokens: 100,
  outputTokens: 20,
  client: 'reads',
}

const acknowledged: Exchange = {
  plan,
  bridge: 'daemon-1',
  askedAt: 0,
  calledAt: [1],
  firstSentAt: 2,
  lastSentAt: 3,
  acknowledgedAt: 4,
  settledAt: 5,
  outcome: 'whole',
}

/** The same request, whose daemon was killed before the last byte was passed on. */
const cut: Exchange = { ...withoutKeys(acknowledged, ['acknowledgedAt']), outcome: 'cut' }
/** A request that came to nothing before its provider was called. */
const rejected: Exchange = { ...withoutKeys(cut, ['firstSentAt', 'lastSentAt']), calledAt: [], outcome: 'rejected' }

function withoutKeys<K extends keyof Exchange>(exchange: Exchange, keys: K[]): Omit<Exchange, K> {
  return Object.fromEntries(Object.entries(exchange).filter(([key]) => !keys.includes(key as K))) as Omit<Exchange, K> // fewer keys
}

const child = { id, interceptionId: id, createdAt: new Date(2), metadata: null }
const tokens: Stored['tokenUsages'][number] = {
  ...child,
  msgId: plan.msgId,
  model: null,
  inputTokens: 100,
  outputTokens: 20,
  cacheReadInputTokens: 0,
  cacheWriteInputTokens: 0,
  costNanos: null,
  costEstimated: false,
}
const prompt: Stored['promptUsages'][number] = { ...child, msgId: plan.msgId, prompt: plan.prompt }
const interception: Stored['interception'] = {
  id,
  initiatorId: id,
  username: 'alice',
  apiKeyId: 'a',
  provider: 'anthropic',
  providerName: 'anthropic-stand-in',
  model: 'm',
  startedAt: new Date(1),
  client: null,
  userAgent: null,
  clientSessionId: plan.tag,
  correlatingToolCallId: null,
  credentialKind: 'centralized',
  credentialHint: null,
  metadata: null,
  endedAt: new Date(2),
  errorType: null,
  errorMessage: null,
  endedBy: null,
  interceptionKind: 'model',
  costNanos: null,
  unpricedRecords: 1,
  parentId: null,
  rootId: null,
  daemonKeyId: null,
  daemonInstance: null,
}
const whole: Stored = { interception, tokenUsages: [tokens], promptUsages: [prompt] }
const estimated = { ...tokens, inputTokens: 500, metadata: { estimated: true } }
const failed = { ...interception, errorType: 'unknown' as const }

test.each<[string, Exchange, Stored[]]>([
  ['an acknowledged request with its records', acknowledged, [whole]],
  ['a cut request with all tokens', cut, [whole]],
  ['a cut request with its end only', cut, [{ interception: failed, tokenUsages: [], promptUsages: [] }]],
  ['a cut request with tokens until then', cut, [{ ...whole, tokenUsages: [{ ...tokens, outputTokens: 1 }] }]],
  ['a cut request with an estimate', cut, [{ ...whole, tokenUsages: [estimated] }]],
  ['a rejected request without an interception', rejected, []],
  ['a rejected request with its end', rejected, [{ ...whole, interception: failed, tokenUsages: [] }]],
  [
    'an overloaded provider',
    { ...acknowledged, plan: { ...plan, status: 529, inputTokens: 0, outputTokens: 0 } },
    [{ ...whole, interception: { ...interception, errorType: 'overloaded' }, tokenUsages: [] }],
  ],
])('accounts agree about %s', (_name, exchange, stored) => {
  expect(offencesOf([exchange], stored)).toEqual([])
})

test('an end may come later only for a request whose provider was never called', () => {
  const open = { ...whole, interception: { ...interception, endedAt: null }, tokenUsages: [] }
  expect(offencesOf([rejected], [open]).map(({ kind }) => kind)).toEqual(['unended'])
  expect(offencesOf([rejected], [open], { mayEndLater: true })).toEqual([])
  expect(offencesOf([cut], [open], { mayEndLater: true }).map(({ kind }) => kind)).toEqual(['unended'])
})

test.each<[string, string[], Exchange, Stored[]]>([
  ['an acknowledged request without an interception', ['missing'], acknowledged, []],
  ['a call of the provider without an interception', ['missing'], cut, []],
  ['a second interception of a request', ['twice'], acknowledged, [whole, whole]],
  ['a second call of the provider', ['twice'], { ...acknowledged, calledAt: [1, 2] }, [whole]],
  ['a second prompt', ['twice'], cut, [{ ...whole, promptUsages: [prompt, prompt] }]],
  ['tokens beside an estimate', ['twice'], cut, [{ ...whole, tokenUsages: [tokens, estimated] }]],
  ['tokens twice', ['twice', 'incomplete'], acknowledged, [{ ...whole, tokenUsages: [tokens, tokens] }]],
  ['no end', ['unended'], acknowledged, [{ ...whole, interception: { ...interception, endedAt: null } }]],
  ['an end before the start', ['backwards'], cut, [{ ...whole, interception: { ...failed, endedAt: new Date(0) } }]],
  ['no prompt', ['incomplete'], acknowledged, [{ ...whole, promptUsages: [] }]],
  ['no tokens', ['incomplete'], acknowledged, [{ ...whole, tokenUsages: [] }]],
  ['an estimate in place of tokens', ['incomplete'], acknowledged, [{ ...whole, tokenUsages: [estimated] }]],
  ['too few tokens', ['incomplete'], acknowledged, [{ ...whole, tokenUsages: [{ ...tokens, outputTokens: 19 }] }]],
  ['too many tokens', ['invented'], cut, [{ ...whole, tokenUsages: [{ ...tokens, inputTokens: 101 }] }]],
  ['the end of another', ['incomplete'], acknowledged, [{ ...whole, interception: failed }]],
  [
    'an end by the control plane',
    ['incomplete'],
    acknowledged,
    [{ ...whole, interception: { ...interception, endedBy: 'control_plane' } }],
  ],
  ['tokens without a call of the provider', ['invented'], rejected, [whole]],
  ['the tokens of another response', ['invented'], cut, [{ ...whole, tokenUsages: [{ ...tokens, msgId: 'msg_2' }] }]],
  ['the prompt of another response', ['invented'], cut, [{ ...whole, promptUsages: [{ ...prompt, msgId: 'msg_2' }] }]],
  ['another prompt', ['invented'], cut, [{ ...whole, promptUsages: [{ ...prompt, prompt: 'crash-1-0-2' }] }]],
  ['another body', ['changed'], { ...cut, outcome: 'changed' }, [whole]],
  [
    'an interception without a request',
    ['invented'],
    acknowledged,
    [whole, { ...whole, interception: { ...interception, clientSessionId: 'crash-1-0-2' } }],
  ],
])('the comparison finds %s', (_name, kinds, exchange, stored) => {
  expect(offencesOf([exchange], stored).map(({ kind }) => kind)).toEqual(kinds)
})
