/** The metrics of a bridge in Prometheus' form. The only file of the client that knows how they are counted. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { CallEnd } from '../../../shared/rpc/call-end.js'
import { errorCodes } from '../../../shared/rpc/errors.js'
import type { Connection, ConnectionState } from '../../rpc/connection.js'
import type { Outbox } from '../outbox/outbox.js'
import { LabelValues } from './label-values.js'
import type { BridgeMetrics, InterceptionEnd, WatchedUpstreams } from './metrics.js'

/** Counts the work of a bridge and of its link to the control plane. */
export interface PrometheusBridgeMetrics extends BridgeMetrics {
  /** Counts a call to the control plane: the `onCallEnd` of `createBridgeClient`. */
  readonly callEnded: (end: CallEnd) => void
  /** Names the connection whose state is read at each scrape. */
  readonly watchConnection: (connection: Pick<Connection, 'state'>) => void
  /**
   * Returns all metrics in Prometheus' text format 0.0.4. Their names begin with `bridge_`; no label holds a secret or
   * names a user.
   */
  readonly text: () => Promise<string>
}

/**
 * Makes the metrics of one bridge, in a registry of their own.
 * @param version the version of the program, for `bridge_build_info`
 */
export function createBridgeMetrics({ version = 'unknown' }: { version?: string } = {}): PrometheusBridgeMetrics {
  const registers = [new Registry()]
  const labels = {
    provider: new LabelValues(),
    model: new LabelValues(),
    client: new LabelValues(),
    route: new LabelValues(),
    api: new LabelValues(),
    server: new LabelValues(),
  }
  let upstreams: WatchedUpstreams = { keyStates: () => [], breakerStates: () => [] }
  let sessions = { size: 0 }
  let outbox: Pick<Outbox, 'size' | 'oldestMs' | 'deadLetters'> = { size: 0, oldestMs: 0, deadLetters: 0 }
  let connection: Pick<Connection, 'state'> = { state: 'connecting' }

  const interceptions = new Counter({
    name: 'bridge_interceptions_total',
    help: 'AI requests that have ended; status: completed, or the recorded type of the error',
    labelNames: ['provider', 'model', 'status', 'client'],
    registers,
  })
  const inFlight = new Gauge({
    name: 'bridge_interceptions_inflight',
    help: 'AI requests that were recorded and have not ended',
    registers,
  })
  const duration = new Histogram({
    name: 'bridge_interception_duration_seconds',
    help: 'from the record of an AI request to its end',
    labelNames: ['provider'],
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600],
    registers,
  })
  const tokens = new Counter({
    name: 'bridge_tokens_total',
    help: 'tokens as the providers count them; type: input (cached ones excluded), output, cache_read, cache_write',
    labelNames: ['provider', 'model', 'type'],
    registers,
  })
  const toolCalls = new Counter({
    name: 'bridge_tool_calls_total',
    help: 'tools that models have selected; injected: whether the bridge offered them',
    labelNames: ['injected'],
    registers,
  })
  const firstByte = new Histogram({
    name: 'bridge_upstream_first_byte_seconds',
    help: 'from the call to a provider until the status of its response',
    labelNames: ['provider'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300],
    registers,
  })
  const overhead = new Histogram({
    name: 'bridge_overhead_seconds',
    help: "what the bridge took before it called the provider, without the client's time to send its request",
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers,
  })
  const passedThrough = new Counter({
    name: 'bridge_passthrough_total',
    help: 'requests that were passed through without a record of an AI request; status: of the response, none without one',
    labelNames: ['provider', 'route', 'status'],
    registers,
  })
  const rejected = new Counter({
    name: 'bridge_rejections_total',
    help: 'requests that the bridge itself rejected; reason: one of a closed list',
    labelNames: ['reason'],
    registers,
  })
  const unknownItems = new Counter({
    name: 'bridge_unknown_items_total',
    help: 'items of responses whose type the bridge does not know',
    labelNames: ['api'],
    registers,
  })
  const usageMismatch = new Counter({
    name: 'bridge_usage_mismatch_total',
    help: "responses whose counts of tokens do not add up to the provider's total",
    labelNames: ['api'],
    registers,
  })
  const mcpRequests = new Counter({
    name: 'bridge_mcp_requests_total',
    help: 'requests to MCP servers; method: of the message, or GET or DELETE; status: of the response, none without one',
    labelNames: ['server', 'method', 'status'],
    registers,
  })
  const mcpCalls = new Histogram({
    name: 'bridge_mcp_call_seconds',
    help: 'calls of tools by MCP clients; status: completed, tool_error for an error of the tool, or the type of the error',
    labelNames: ['server', 'status'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
    registers,
  })
  new Gauge({
    name: 'bridge_mcp_sessions',
    help: 'sessions of MCP clients with MCP servers that this bridge has seen and that have not ended',
    registers,
    collect() {
      this.set(sessions.size)
    },
  })
  const calls = new Histogram({
    name: 'bridge_rpc_call_seconds',
    help: 'calls to the control plane; code: OK or that of the error',
    labelNames: ['path', 'code'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  })
  new Gauge({
    name: 'bridge_outbox_records',
    help: 'records that wait for the control plane',
    registers,
    collect() {
      this.set(outbox.size)
    },
  })
  new Gauge({
    name: 'bridge_outbox_oldest_seconds',
    help: 'age of the record that waits longest; 0 if none does',
    registers,
    collect() {
      this.set(outbox.oldestMs / 1000)
    },
  })
  new Counter({
    name: 'bridge_outbox_dead_letters_total',
    help: 'records that the control plane rejected for good',
    registers,
    collect() {
      this.reset()
      this.inc(outbox.deadLetters)
    },
  })
  new Gauge({
    name: 'bridge_rpc_connection_state',
    help: 'the link to the control plane: 1 open, 0 being dialled or waiting to be, -1 closed for good',
    registers,
    collect() {
      this.set(connectionStates[connection.state])
    },
  })
  const failovers = new Counter({
    name: 'bridge_failovers_total',
    help: 'requests that were sent again, or elsewhere; cause: key, unreachable, breaker_open',
    labelNames: ['provider', 'cause'],
    registers,
  })
  const outdated = new Gauge({
    name: 'bridge_providers_outdated',
    help: 'providers that are served with their last good configuration, because the current one is not usable',
    registers,
  })
  new Gauge({
    name: 'bridge_key_state',
    help: "keys of providers, by the control plane's id; 1 usable, 0 limited, -1 rejected by the provider",
    labelNames: ['provider', 'key'],
    registers,
    collect() {
      this.reset()
      for (const { provider, id, state } of upstreams.keyStates()) {
        this.set({ provider: labels.provider.of(provider), key: id }, keyStates[state])
      }
    },
  })
  new Gauge({
    name: 'bridge_breaker_state',
    help: 'endpoints and models that have failed: 1 still in use, 0 tried again, -1 left alone',
    labelNames: ['provider', 'endpoint', 'model'],
    registers,
    collect() {
      this.reset()
      const closedFirst = [...upstreams.breakerStates()].sort((a, b) => breakerStates[b.state] - breakerStates[a.state])
      // Of models that share the label `other`, the worst state stays.
      for (const { provider, endpoint, model, state } of closedFirst) {
        const values = { provider: labels.provider.of(provider), endpoint, model: labels.model.of(model, false) }
        this.set(values, breakerStates[state])
      }
    },
  })
  const build = new Gauge({
    name: 'bridge_build_info',
    help: 'always 1; version: of the program',
    labelNames: ['version'],
    registers,
  })
  build.set({ version }, 1)
  // The first increase is visible only from a zero before it.
  for (const injected of ['true', 'false']) toolCalls.inc({ injected }, 0)

  function count(end: InterceptionEnd): void {
    const { status, seconds } = end
    // A model name that the provider rejects must not take the place of a known one.
    const mayAdd = status !== 'bad_request'
    const provider = labels.provider.of(end.provider)
    const model = labels.model.of(end.model, mayAdd)
    interceptions.inc({ provider, model, status, client: labels.client.of(end.client ?? 'unknown') })
    duration.observe({ provider }, seconds)
    if (end.toolCalls > 0) toolCalls.inc({ injected: 'false' }, end.toolCalls)
    if (end.injectedCalls > 0) toolCalls.inc({ injected: 'true' }, end.injectedCalls)
    for (const counts of end.tokens) {
      const billed = labels.model.of(counts.model, mayAdd)
      for (const [name, type] of tokenTypes) {
        if (counts[name] > 0) tokens.inc({ provider, model: billed, type }, counts[name])
      }
    }
  }

  return {
    interceptionStarted() {
      inFlight.inc()
      return end => {
        inFlight.dec()
        count(end)
      }
    },
    firstByte: (provider, seconds) => firstByte.observe({ provider: labels.provider.of(provider) }, seconds),
    passedThrough({ provider, route, status }) {
      passedThrough.inc({
        provider: labels.provider.of(provider),
        route: labels.route.of(route),
        status: statusLabel(status),
      })
    },
    mcpRequest({ server, method, status }) {
      mcpRequests.inc({ server: labels.server.of(server), method, status: statusLabel(status) })
    },
    mcpCall: ({ server, outcome, seconds }) =>
      mcpCalls.observe({ server: labels.server.of(server), status: outcome }, seconds),
    watchSessions(watched) {
      sessions = watched
    },
    rejected: reason => rejected.inc({ reason }),
    unknownItems: (api, count) => unknownItems.inc({ api: labels.api.of(api) }, count),
    usageMismatch: api => usageMismatch.inc({ api: labels.api.of(api) }),
    failedOver: (provider, cause) => failovers.inc({ provider: labels.provider.of(provider), cause }),
    providersOutdated: providers => outdated.set(providers),
    watchUpstreams(watched) {
      upstreams = watched
    },
    overhead: seconds => overhead.observe(seconds),
    watchOutbox(watched) {
      outbox = watched
    },
    callEnded({ type, path, durationMs, code }) {
      // A subscription's time is not a waiting time.
      if (type !== 'subscription') calls.observe({ path, code: labelOf(code) }, durationMs / 1000)
    },
    watchConnection(watched) {
      connection = watched
    },
    text: async () => (await Promise.all(registers.map(register => register.metrics()))).join(''),
  }
}

function statusLabel(status: number): string {
  return status >= 100 && status <= 999 ? String(status) : 'none'
}

const connectionStates: Readonly<Record<ConnectionState, number>> = { open: 1, connecting: 0, waiting: 0, closed: -1 }

const keyStates = { usable: 1, cooling: 0, out: -1 } as const

const breakerStates = { closed: 1, 'half-open': 0, open: -1 } as const

const tokenTypes = [
  ['input', 'input'],
  ['output', 'output'],
  ['cacheRead', 'cache_read'],
  ['cacheWrite', 'cache_write'],
] as const

/** Codes of this project only, so that no server can make up labels. */
function labelOf(code: CallEnd['code']): string {
  if (code === undefined) return 'OK'
  return Object.hasOwn(errorCodes, code) ? code : 'other'
}
