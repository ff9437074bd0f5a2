/** A control plane's metrics in Prometheus' form. No other file of the server knows how metrics are counted. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { AcpObserver } from '../acp/options.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'
import type { ChatCount, ServerMetrics } from './metrics.js'

const callBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/**
 * Creates metrics in a separate registry: `rpc_…`, `peer_…`, and the metrics of the process. No label holds a secret or
 * names a user.
 */
export function createServerMetrics(): ServerMetrics {
  const registry = new Registry()
  const registers = [registry]
  let group: Pick<ConnectionGroup, 'connections' | 'calls'> = { connections: 0, calls: 0 }
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'rpc_connections_open',
    help: 'connections of every link, those not yet authenticated included',
    registers,
    collect() {
      this.set(group.connections)
    },
  })
  new Gauge({
    name: 'rpc_calls_inflight',
    help: 'queries and mutations whose procedure has not returned',
    registers,
    collect() {
      this.set(group.calls)
    },
  })
  let peers: { readonly connections: number } = { connections: 0 }
  new Gauge({
    name: 'peer_connections_open',
    help: 'connections of this server to other servers of the database',
    registers,
    collect() {
      this.set(peers.connections)
    },
  })
  const peerCalls = new Histogram({
    name: 'peer_call_seconds',
    help: 'calls to other servers of the database, until the response; code: OK or that of the error',
    labelNames: ['path', 'code'],
    buckets: callBuckets,
    registers,
  })
  const calls = new Histogram({
    name: 'rpc_call_seconds',
    help: 'calls from their arrival to their response, subscriptions to their end; code: OK or that of the error',
    labelNames: ['path', 'type', 'code'],
    buckets: callBuckets,
    registers,
  })
  const rejected = new Counter({
    name: 'rpc_connections_refused_total',
    help: 'connections that were rejected, by reason',
    labelNames: ['reason'],
    registers,
  })
  const unpriced = new Counter({
    name: 'token_records_unpriced_total',
    help: 'records of tokens without a price; reason: unknown_provider, no_list, unknown_model or no_rate',
    labelNames: ['reason'],
    registers,
  })
  const abandoned = new Counter({
    name: 'interceptions_abandoned_total',
    help: 'interceptions that this server ended because their daemon was gone',
    registers,
  })
  let runningChats = () => 0
  new Gauge({
    name: 'chats_running',
    help: 'chats whose turn this server runs',
    registers,
    collect() {
      this.set(runningChats())
    },
  })
  const chatCounters: Readonly<Record<ChatCount, Counter>> = {
    takeover: new Counter({
      name: 'chats_takeovers_total',
      help: 'chats that this server has taken from another one',
      registers,
    }),
    stale_commit: new Counter({
      name: 'chats_stale_commits_total',
      help: 'changes of turns that were rejected, because another server or a newer history had taken over',
      registers,
    }),
    relayed_part: new Counter({
      name: 'chats_relayed_parts_total',
      help: 'live parts of chats that came from other servers',
      registers,
    }),
    retry: new Counter({ name: 'chats_retries_total', help: 'calls of models that are tried again', registers }),
  }
  const connectionRejected: ServerMetrics['connectionRejected'] = ({ reason, code }) =>
    rejected.inc({ reason: reason ?? code })
  return {
    acp: { ...acpMetrics(registers), rejected: connectionRejected },
    chatEvent: (event, count = 1) => chatCounters[event].inc(count),
    watchChats(running) {
      runningChats = running
    },
    recordUnpriced: reason => unpriced.inc({ reason }),
    interceptionsAbandoned: interceptions => abandoned.inc(interceptions),
    callEnded: ({ path, type, code = 'OK', durationMs }) => calls.observe({ path, type, code }, durationMs / 1000),
    connectionRejected,
    peerCallEnded: ({ path, code = 'OK', durationMs }) => peerCalls.observe({ path, code }, durationMs / 1000),
    watchPeers(watched) {
      peers = watched
    },
    watchGroup(watched) {
      group = watched
    },
    text: () => registry.metrics(),
  }
}

function acpMetrics(registers: Registry[]): Required<Omit<AcpObserver, 'rejected'>> {
  const open = new Gauge({
    name: 'acp_connections_open',
    help: 'connections of the Agent Client Protocol; transport: http or websocket',
    labelNames: ['transport'],
    registers,
  })
  const ends = new Counter({
    name: 'acp_connections_ended_total',
    help: 'connections of the Agent Client Protocol that have ended, by reason',
    labelNames: ['transport', 'reason'],
    registers,
  })
  const messages = new Counter({
    name: 'acp_messages_total',
    help: 'messages of the Agent Client Protocol that went on; to: agent or client',
    labelNames: ['to'],
    registers,
  })
  const dropped = new Counter({
    name: 'acp_responses_dropped_total',
    help: 'responses to no open request; from: agent or client',
    labelNames: ['from'],
    registers,
  })
  const held = new Counter({
    name: 'acp_agents_held_total',
    help: 'holds of an agent whose client had too much output unread',
    registers,
  })
  for (const transport of ['http', 'websocket']) open.set({ transport }, 0)
  return {
    connectionOpened: transport => open.inc({ transport }),
    connectionEnded(transport, reason) {
      open.dec({ transport })
      ends.inc({ transport, reason })
    },
    messagePassed: to => messages.inc({ to }),
    responseDropped: from => dropped.inc({ from }),
    agentHeld: () => held.inc(),
  }
}

/** Creates the metrics of this process alone, for a process without a control plane. */
export function createProcessMetrics(): Pick<ServerMetrics, 'text'> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return { text: () => registry.metrics() }
}
