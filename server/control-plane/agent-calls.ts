/** Calls to agents, wherever their connections are. */
import type { ProcessCall, ProcessHost } from '../../shared/contract/agents.js'
import { type ErrorReason, errorReasonOf, rpcError } from '../../shared/contract/error-reasons.js'
import { peerLimits, presence, processLimits } from '../../shared/contract/limits.js'
import { errorCodeOf, mayHaveRunOf, RpcError } from '../../shared/rpc/errors.js'
import type { DrainSource } from '../../shared/rpc/links/parked-dial.js'
import type { Logger } from '../../shared/values/log.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'
import type { AgentAttempt, AgentCall, AgentHosts, HeldAgents } from '../services/agent-hosts.js'
import type { AgentLink, AgentStore, ChangeStore, ReplicaStore } from '../store/store.js'
import type { AgentLinks } from './agent-links.js'
import { AgentRows } from './agent-rows.js'
import { OpenCall } from './open-call.js'
import type { PeerLinks } from './peers/peer-links.js'

/** Settings of {@link AgentCalls}. */
export interface AgentCallsOptions {
  store: Pick<AgentStore, 'readAgentLinks'> & Pick<ReplicaStore, 'findReplica'> & ChangeStore
  links: Pick<AgentLinks, 'connected' | 'onArrival'>
  /** the other servers; undefined: none is called */
  peers: Pick<PeerLinks, 'agentHost'> | undefined
  /** this process, as the rows of agents name it */
  replica: string
  group: DrainSource & Pick<ConnectionGroup, 'state'>
  logger: Logger
  /** between two looks where the agents of waiting calls are, without a notification; default 5 s */
  recheckMs?: number
  now?: () => Date
}

/** An instance of an agent, as this process reaches it. */
interface Place {
  /** false: at another server */
  readonly isHere: boolean
  /** whether the agent is known to be connected there: no row has to be read */
  readonly isConnected: boolean
  readonly instance: string
  readonly host: ProcessHost
  /** whether the agent is elsewhere, by its row */
  isLeft(row: AgentLink): boolean
  /** whether an error of an attempt says nothing of the agent, so that it may be asked again */
  isLost(error: unknown): boolean
}

/**
 * Finds the agent of a call: connected to this process; else by its row, at another server that can be called; else it
 * waits. A call follows the agent: when the agent is elsewhere, the attempt under way ends and the next one begins
 * there. The same instance may be asked twice, since its procedures are idempotent. Another one is asked only if no
 * attempt can have run.
 *
 * ```
 * finding ──connected here, or at a peer──▶ attempt ──response──▶ over
 *    ▲──────lost, or the agent is elsewhere────┘
 * any ──deadline, cancelled, another instance──▶ over
 * ```
 */
export class AgentCalls implements AgentHosts, HeldAgents {
  readonly #options: AgentCallsOptions
  readonly #rows: AgentRows
  readonly #calls = new Set<OpenCall<Place>>()
  readonly #unlisten: readonly (() => void)[]
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(options: AgentCallsOptions) {
    this.#options = options
    const { store, links, group, now = () => new Date() } = options
    this.#rows = new AgentRows(store, now)
    this.#unlisten = [
      store.onChange('agents', () => this.#reviewAll()),
      links.onArrival(id => this.#reviewAll(id)),
      group.onDrain(() => this.#reviewAll()),
    ]
  }

  async call<T>(
    agentId: string,
    call: AgentCall,
    work: (host: ProcessHost, instanceId: string, attempt: AgentAttempt) => Promise<T>,
  ): Promise<T> {
    const open = new OpenCall<Place>(agentId, call)
    this.#calls.add(open)
    this.#timer ??= this.#schedule()
    let instance = call.instanceId
    let mayHaveRun = false
    try {
      for (;;) {
        const changed = open.changed
        const place = await this.#find(open, instance, mayHaveRun, call.timeoutMs)
        const attempt = open.begin(place)
        let hasLeft = false
        try {
          return await work(place.host, place.instance, attempt)
        } catch (error) {
          hasLeft = open.ended()
          if (open.end === 'deadline') throw late(place, call.timeoutMs)
          if (open.end || this.#isStopped || !(hasLeft || place.isLost(error))) throw error
          if (mayHaveRunOf(error) !== false) {
            mayHaveRun = true
            instance = place.instance
          }
        }
        // A server that rejects calls at once is not asked again before something changes.
        if (!hasLeft && !place.isHere) await changed
      }
    } finally {
      open.close()
      this.#calls.delete(open)
    }
  }

  async callHeld<T>(
    { agentId, instanceId }: { agentId: string; instanceId: string },
    { signal }: ProcessCall,
    work: (host: ProcessHost, call: ProcessCall) => Promise<T>,
  ): Promise<T> {
    const { links } = this.#options
    const open = new OpenCall<Place>(agentId, { timeoutMs: heldMs, signal })
    this.#calls.add(open)
    try {
      for (;;) {
        const { changed } = open
        const held = links.connected(agentId)
        if (held && held.instance !== instanceId) throw restarted(false)
        if (held) return await work(held.host, { signal })
        this.#checkOpen(false)
        await changed
        open.throwIfCancelled()
        if (open.end) throw unreachable(heldMs, false)
      }
    } finally {
      open.close()
      this.#calls.delete(open)
    }
  }

  /** Ends the watch; calls that wait fail with draining. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    for (const unlisten of this.#unlisten) unlisten()
    for (const open of this.#calls) open.change()
  }

  /** @throws RpcError draining */
  #checkOpen(mayHaveRun: boolean): void {
    if (this.#isStopped || this.#options.group.state !== 'open') {
      throw rpcError('draining', 'the server is closing', { mayHaveRun })
    }
  }

  /**
   * Waits until the agent can be asked.
   * @param instance the only one that may be asked
   */
  async #find(
    open: OpenCall<Place>,
    instance: string | undefined,
    mayHaveRun: boolean,
    timeoutMs: number,
  ): Promise<Place> {
    let problem: string | undefined
    for (;;) {
      open.throwIfCancelled()
      if (open.end) throw unreachable(timeoutMs, mayHaveRun, problem)
      const { changed } = open
      let place = this.#placeHere(open.agentId)
      if (!place) {
        const row = await this.#read(open.agentId)
        place = this.#placeHere(open.agentId)
        if (!place && row) {
          if (!row.isValid) throw rejected(mayHaveRun)
          if (instance !== undefined && row.instance !== null && row.instance !== instance) throw restarted(true)
          const found = await this.#placeAtPeer(row)
          if (typeof found === 'object') place = found
          else problem = found
        }
      }
      if (place) {
        if (instance !== undefined && place.instance !== instance) throw restarted(true)
        return place
      }
      this.#checkOpen(mayHaveRun)
      await changed
    }
  }

  #placeHere(agentId: string): Place | undefined {
    const held = this.#options.links.connected(agentId)
    return (
      held && {
        isHere: true,
        instance: held.instance,
        host: held.host,
        get isConnected() {
          return held.isConnected
        },
        isLeft: row =>
          row.instance !== held.instance || (row.replica !== null && row.replica !== this.#options.replica),
        isLost: error => !held.isCurrent && (mayHaveRunOf(error) === false || isOfLink(error)),
      }
    )
  }

  /** Returns the place of an agent at another server, or why there is none. */
  async #placeAtPeer({ id, replica, instance }: AgentLink): Promise<Place | string | undefined> {
    const { store, peers, logger, replica: own } = this.#options
    if (replica === null || replica === own || instance === null || !peers) return undefined
    const found = await store.findReplica(replica, presence.replicaGoneAfterMs).catch((error: unknown) => {
      logger.warn({ err: error }, 'the server of an agent could not be looked up')
    })
    if (!found) return found === null ? unadvertised : undefined
    return {
      isHere: false,
      instance,
      host: peers.agentHost(found, id, instance),
      isConnected: false,
      isLeft: row => row.instance !== instance || (row.replica !== null && row.replica !== replica),
      isLost: error => isOfLink(error) || isOfOther(error),
    }
  }

  /** Returns undefined for an unknown agent, and while the store does not respond. */
  async #read(agentId: string): Promise<AgentLink | undefined> {
    try {
      return await this.#rows.read(agentId)
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'the server of an agent could not be looked up')
      return undefined
    }
  }

  #schedule(): NodeJS.Timeout {
    const { recheckMs = peerLimits.recheckMs } = this.#options
    return setTimeout(() => {
      this.#reviewAll()
      this.#timer = this.#calls.size > 0 ? this.#schedule() : undefined
    }, recheckMs).unref()
  }

  /** Looks at all calls again, or at those of one agent. */
  #reviewAll(agentId?: string): void {
    for (const open of this.#calls) if (agentId === undefined || open.agentId === agentId) void this.#review(open)
  }

  /** Wakes a call that waits, and ends an attempt whose agent is elsewhere. Never rejects. */
  async #review(open: OpenCall<Place>): Promise<void> {
    open.change()
    const { place } = open
    if (!place || place.isConnected) return
    if (this.#options.links.connected(open.agentId)) return open.leave()
    const row = await this.#read(open.agentId)
    if (row && open.place === place && !place.isConnected && (!row.isValid || place.isLeft(row))) open.leave()
  }
}

/** The longest time for which another server waits for an agent. */
const heldMs = processLimits.maxWaitMs + processLimits.patienceMs

const unadvertised =
  'the agent is connected to a server that this one does not reach, or that was killed: give every server a ' +
  'BRIDGE_ADVERTISE_URL of its own'

const silentPeer =
  'the agent, or the server that holds its connection, did not respond in time; its commands go on: check both, and ' +
  'the BRIDGE_ADVERTISE_URL of the server, then read the output again'

/** Whether an error is the connection's, and not the agent's. */
function isOfLink(error: unknown): boolean {
  const reason = errorReasonOf(error)
  return reason?.startsWith('connection_') || reason === 'draining' || errorCodeOf(error) === 'TIMEOUT'
}

/** Whether another server says that it holds another instance: the row is newer then. */
function isOfOther(error: unknown): boolean {
  return errorReasonOf(error) === 'agent_restarted' && mayHaveRunOf(error) === false
}

function restarted(mayHaveRun: boolean): RpcError<ErrorReason> {
  const message =
    'the agent was started anew: its processes are gone, and their outcome is unknown; nothing was run again'
  return rpcError('agent_restarted', message, { mayHaveRun })
}

function rejected(mayHaveRun: boolean): RpcError<ErrorReason> {
  const message =
    'the agent may not connect: its key was revoked or has expired, or its owner is not active; ' +
    'make it a new key with: aibridge agents create'
  return rpcError('agent_unreachable', message, { mayHaveRun })
}

/** Returns the error of an attempt that the deadline has ended. */
function late({ isHere, isConnected }: Place, timeoutMs: number): RpcError<string> {
  if (!isConnected) return unreachable(timeoutMs, true, isHere ? undefined : silentPeer)
  const message = `the agent is connected and did not respond within ${Math.ceil(timeoutMs / 1000)} s`
  return new RpcError<string>('TIMEOUT', message, { mayHaveRun: true })
}

function unreachable(timeoutMs: number, mayHaveRun: boolean, problem?: string): RpcError<ErrorReason> {
  const message =
    problem ??
    `the agent was not connected for ${Math.ceil(timeoutMs / 1000)} s; its commands go on while it is away: ` +
      'check the agent and its network, then read the output again'
  return rpcError('agent_unreachable', message, { mayHaveRun })
}
