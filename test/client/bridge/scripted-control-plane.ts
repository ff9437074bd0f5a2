/**
 * A control plane that a test can make fail. It keeps records and rejects breaches of the contract, as the real one
 * does.
 */
import type { ControlPlane } from '../../../client/bridge/control-plane/control-plane.js'
import type { HiddenTurn, PinnedTool } from '../../../shared/contract/conversations.js'
import type { Erasure } from '../../../shared/contract/erasures.js'
import { type ErrorReason, rpcError } from '../../../shared/contract/error-reasons.js'
import type {
  AccessTokenError,
  AccessTokensOutput,
  McpServerConfig,
} from '../../../shared/contract/mcp-configurator.js'
import type { Provider, ReportKeyInput } from '../../../shared/contract/provider-configurator.js'
import { interceptionIdOf, type RecordKind, recordKinds } from '../../../shared/contract/record-kinds.js'
import {
  type BatchRecord,
  type RecordInput,
  type RecordOutcome,
  recordSchemas,
} from '../../../shared/contract/recorder.js'
import { RpcError } from '../../../shared/rpc/errors.js'

export const testKey = `${'k'.repeat(10)}-${'s'.repeat(22)}`
export const testOwner = { ownerId: '0198c5d4-0000-7000-8000-000000000001', apiKeyId: 'k'.repeat(10), username: 'test' }

/** Runs around each procedure, which is named as `router.procedure`. */
type Hook = (path: string, input: unknown) => void | Promise<void>

export interface ScriptedControlPlane extends ControlPlane {
  /** in the order of storing, without repeats */
  readonly records: BatchRecord[]
  /** every call, in order */
  readonly calls: string[]
  providers: Provider[]
  /** of every user */
  mcpServers: McpServerConfig[]
  /** of every user, by the server's id; a server without an entry has no link */
  mcpTokens: Map<string, { token: string } | { error: AccessTokenError }>
  /** names of providers whose keys cannot be opened */
  unreadable: string[]
  /** in order */
  readonly reportedKeys: ReportKeyInput[]
  /** confirmed erasures, in order */
  readonly confirmed: { erasureId: string; records: number }[]
  /** outboxes that were reported to be empty */
  readonly retired: string[]
  /** Gives an erasure to all watchers. */
  erase(erasure: Erasure): void
  /** Signals a change of the providers to all watchers. */
  signal(): void
  /** runs before each procedure, which throws the same error */
  before: Hook
  /** runs after each procedure has taken effect: an error is a lost response */
  after: Hook
  stored<K extends RecordKind>(kind: K): Extract<BatchRecord, { kind: K }>[]
  /** Empties `records`. Later records of a forgotten interception belong to an unknown one. */
  forget(): void
}

interface KeptConversation {
  tools: PinnedTool[] | null
  turns: Map<string, HiddenTurn>
}
const noConversation: KeptConversation = { tools: null, turns: new Map() }

export function scriptedControlPlane(providers: Provider[] = []): ScriptedControlPlane {
  const byId = new Map<string, BatchRecord>()
  const watchers = new Set<() => void>()
  const kept = new Map<string, KeptConversation>()
  const eraseWatchers = new Set<(erasure: Erasure) => void>()
  const aside = async (path: string, run: () => void) => {
    await plane.before(path, undefined)
    run()
  }
  const plane: ScriptedControlPlane = {
    records: [],
    calls: [],
    providers,
    mcpServers: [],
    mcpTokens: new Map(),
    unreadable: [],
    reportedKeys: [],
    confirmed: [],
    retired: [],
    erase: erasure => eraseWatchers.forEach(watcher => void watcher(erasure)),
    signal: () => watchers.forEach(watcher => void watcher()),
    before: () => {},
    after: () => {},
    stored: <K extends RecordKind>(kind: K) =>
      plane.records.filter((record): record is Extract<BatchRecord, { kind: K }> => record.kind === kind),
    forget() {
      plane.records.splice(0)
      byId.clear()
    },
    recorder: {
      recordInterception: single('interception'),
      recordInterceptionEnded: single('interceptionEnded'),
      recordTokenUsage: single('tokenUsage'),
      recordPromptUsage: single('promptUsage'),
      recordToolUsage: single('toolUsage'),
      recordModelThought: single('modelThought'),
      recordBatch: {
        mutate: ({ records }) => call('recorder.recordBatch', records, () => ({ results: records.map(store) })),
      },
      watchErasures: {
        subscribe(_input, { onData }) {
          eraseWatchers.add(onData)
          return { unsubscribe: () => eraseWatchers.delete(onData) }
        },
      },
      confirmErasures: {
        mutate: ({ erasures }) => aside('recorder.confirmErasures', () => void plane.confirmed.push(...erasures)),
      },
      retireOutbox: {
        mutate: ({ outboxId }) => aside('recorder.retireOutbox', () => void plane.retired.push(outboxId)),
      },
      endAbandoned: { mutate: input => call('recorder.endAbandoned', input, () => ({ ended: 0 })) },
    },
    authorizer: {
      isAuthorized: {
        query: input =>
          call('authorizer.isAuthorized', input, () => {
            if (input.key === testKey || input.keyId === testOwner.apiKeyId) return testOwner
            throw rpcError('unknown_key', 'no such key')
          }),
      },
    },
    mcpConfigurator: {
      getServerConfigs: {
        query: (input, { signal } = {}) =>
          untilAborted(
            call('mcpConfigurator.getServerConfigs', input, () => ({
              servers: structuredClone(plane.mcpServers),
              sessionSecret: Buffer.alloc(32, input.userId).toString('base64url'),
              hasConversations: [...kept.keys()].some(place => place.startsWith(`${input.userId} `)),
            })),
            signal,
          ),
      },
      getServerAccessTokensBatch: {
        query: (input, { signal } = {}) =>
          untilAborted(
            call('mcpConfigurator.getServerAccessTokensBatch', input, () => accessTokens(input.serverIds)),
            signal,
          ),
      },
    },
    conversations: {
      open: {
        query: input =>
          call('conversations.open', input, () => {
            const { tools, turns } = kept.get(`${input.userId} ${input.key}`) ?? noConversation
            return structuredClone({ tools, turns: [...turns.values()], next: null })
          }),
      },
      pin: {
        mutate: input =>
          call('conversations.pin', input, () => {
            const conversation = conversationOf(input)
            if (input.replaces) conversation.tools = null
            conversation.tools ??= structuredClone(input.tools)
            return { tools: structuredClone(conversation.tools) }
          }),
      },
      keep: {
        mutate: input =>
          call('conversations.keep', input, () => {
            conversationOf(input).turns.set(input.id, structuredClone(input.turn))
            return {}
          }),
      },
    },
    providerConfigurator: {
      getProviders: {
        query: (_input, { signal } = {}) =>
          untilAborted(
            call('providerConfigurator.getProviders', undefined, () => ({
              providers: structuredClone(plane.providers),
              unreadable: [...plane.unreadable],
            })),
            signal,
          ),
      },
      reportKey: {
        mutate: input => call('providerConfigurator.reportKey', input, () => void plane.reportedKeys.push(input)),
      },
      watchProviders: {
        subscribe(_input, { onData, onError }) {
          plane.calls.push('providerConfigurator.watchProviders')
          const watcher = () => onData()
          watchers.add(watcher)
          queueMicrotask(async () => {
            try {
              await plane.before('providerConfigurator.watchProviders', undefined)
              watcher()
            } catch (error) {
              watchers.delete(watcher)
              onError(error)
            }
          })
          return { unsubscribe: () => watchers.delete(watcher) }
        },
      },
    },
  }
  return plane

  function accessTokens(serverIds: string[]): AccessTokensOutput {
    const output: AccessTokensOutput = { accessTokens: {}, errors: {} }
    for (const id of serverIds) {
      const isKnown = plane.mcpServers.some(server => server.id === id)
      const known = isKnown ? plane.mcpTokens.get(id) : { error: 'unknown_server' as const }
      if (known && 'token' in known) output.accessTokens[id] = known.token
      else output.errors[id] = known?.error ?? 'no_link'
    }
    return output
  }

  function conversationOf({ userId, key }: { userId: string; key: string }) {
    const known: KeptConversation = kept.get(`${userId} ${key}`) ?? { tools: null, turns: new Map() }
    kept.set(`${userId} ${key}`, known)
    return known
  }

  async function call<T>(path: string, input: unknown, run: () => T): Promise<T> {
    plane.calls.push(path)
    await plane.before(path, input)
    const output = run()
    await plane.after(path, input)
    return output
  }

  function single<K extends RecordKind>(kind: K) {
    const path = `recorder.${recordKinds[kind].procedure}`
    return {
      mutate: (record: RecordInput<K>, { signal }: { signal?: AbortSignal } = {}) =>
        untilAborted(
          call(path, record, () => {
            const outcome = store({ kind, ...record } as BatchRecord) // the kind of this record
            if (outcome.ok) return {}
            throw new RpcError<ErrorReason>(outcome.code, outcome.message, {
              reason: outcome.code === 'NOT_FOUND' ? 'unknown_interception' : 'content_differs',
            })
          }),
          signal,
        ),
    }
  }

  function store(record: BatchRecord): RecordOutcome {
    const { kind, ...input } = record
    const checked = recordSchemas[kind].safeParse(input)
    if (!checked.success) return { ok: false, code: 'BAD_REQUEST', message: checked.error.message }
    const key = `${kind} ${record.id}`
    const known = byId.get(key)
    if (known) {
      const same = kind === 'interceptionEnded' || JSON.stringify(known) === JSON.stringify(record)
      return same ? { ok: true } : { ok: false, code: 'CONFLICT', message: `${key} has other content` }
    }
    const owner = interceptionIdOf(record)
    if (kind !== 'interception' && !byId.has(`interception ${owner}`))
      return { ok: false, code: 'NOT_FOUND', message: `no interception ${owner}` }
    byId.set(key, record)
    plane.records.push(record)
    return { ok: true }
  }
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    signal.addEventListener(
      'abort',
      () => reject(new RpcError('CLIENT_CLOSED_REQUEST', 'cancelled', { mayHaveRun: true })),
      { once: true },
    )
    promise.then(resolve, reject)
  })
}
