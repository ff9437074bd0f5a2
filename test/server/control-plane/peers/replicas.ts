/** Servers of one database that reach each other, and scripted agents, until the end of the test. */
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished } from 'vitest'
import { connectAgent } from '../../../../client/agent-connection.js'
import { agentDial } from '../../../../client/agent-dial.js'
import { createBridgeClient } from '../../../../client/bridge-client.js'
import { connectPeer, type PeerConnectionOptions } from '../../../../client/peer-connection.js'
import { createBridgeServer } from '../../../../server/control-plane/server.js'
import type { BridgeServerConfig } from '../../../../server/control-plane/server-config.js'
import { createServerMetrics } from '../../../../server/metrics/prometheus.js'
import { processRouter } from '../../../../server/routers/process.js'
import { serveDial } from '../../../../server/rpc/serve-dial.js'
import type { Store } from '../../../../server/store/store.js'
import type { ProcessCall, ProcessHost } from '../../../../shared/contract/agents.js'
import { finalCloseCodes } from '../../../../shared/contract/close-codes.js'
import { closeCodes, type Duplex } from '../../../../shared/rpc/duplex.js'
import { balance } from '../../../e2e/balancer.js'
import { admin, adminToken, recordingLogger } from '../../services/running-server.js'

export const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)

interface ReplicaOptions {
  config?: Partial<BridgeServerConfig>
  /** false: the other servers do not reach this one; a function makes the URL of another way to it */
  advertise?: boolean | ((port: number) => Promise<string>)
  tls?: PeerConnectionOptions['tls']
}

export type Replica = Awaited<ReturnType<typeof openReplica>>

/** A server that listens at the URL that it advertises, and a client of its operators. */
export async function openReplica(store: Store, { config = {}, advertise = true, tls }: ReplicaOptions = {}) {
  const logger = recordingLogger()
  const metrics = createServerMetrics()
  // The server has to know its URL before it has a port.
  const targets: { url: string }[] = []
  const front = await balance(() => targets)
  const server = await createBridgeServer({
    store,
    logger,
    metrics,
    connectAgent,
    connectPeer: dial => connectPeer({ ...dial, tls }),
    config: {
      adminToken,
      encryptionKeys: [key(7)],
      heartbeatMs: 1_000,
      advertiseUrl:
        advertise === false
          ? undefined
          : advertise === true
            ? front.url
            : await advertise(Number(new URL(front.url).port)),
      ...config,
    },
  })
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  targets.push({ url })
  const client = createBridgeClient({ dial: () => server.connectInMemory({ identity: admin }) })
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= (async () => {
      await client.close()
      await server.close({ graceMs: 0 })
      await front.close()
    })()
    return closed
  }
  onTestFinished(close)
  return { server, url, admin: client.admin, agents: client.admin.agents, logger, metrics, close }
}

export async function createAgent({ admin }: Pick<Replica, 'admin'>) {
  const username = `owner-${randomUUID().slice(0, 8)}`
  await admin.users.create.mutate({ username })
  return admin.agents.create.mutate({ name: `agent-${randomUUID().slice(0, 8)}`, user: username })
}

export type ScriptedAgent = ReturnType<typeof serveAgent>

/** A call of a scripted host that ends with its caller. */
export const hang = ({ signal }: ProcessCall): Promise<never> =>
  new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }))

/** An agent that serves a scripted host at one server, until it moves. */
export function serveAgent(url: string, key: string, more: Partial<ProcessHost> = {}, instance = randomUUID()) {
  const buildVersion = '7.0'
  let target = url
  const duplexes: Duplex[] = []
  let isAway = false
  const unused = () => Promise.reject(new Error('not scripted'))
  const host: ProcessHost = {
    info: async () => ({
      instanceId: instance,
      os: 'x',
      home: '/',
      dir: '/',
      startedAt: new Date(0),
      buildVersion: '',
    }),
    start: async ({ id }) => ({ id, attached: false }),
    output: unused,
    list: async () => ({ processes: [], total: 0 }),
    signal: async () => ({}),
    cancel: unused,
    ...more,
  }
  const service = serveDial({
    dial: async info => {
      if (isAway) return hang(info)
      const duplex = await agentDial({ url: target, key, instance, buildVersion })(info)
      duplexes.push(duplex)
      return duplex
    },
    router: processRouter(host),
    random: () => 0,
    finalCloseCodes,
  })
  const close = async () => void (await service.close({ graceMs: 0 }))
  onTestFinished(close)
  return {
    service,
    instance,
    close,
    /** Dials no more. */
    staysAway() {
      isAway = true
    },
    /** Resolves when the agent has no connection. */
    isLost: new Promise<void>(resolve => {
      service.onStateChange(state => {
        if (state !== 'open') resolve()
      })
    }),
    /** Loses the connection, and dials another server. */
    moveTo(url: string) {
      target = url
      duplexes.at(-1)?.terminate({ code: closeCodes.abnormal, message: 'cut' })
    },
  }
}

/** Resolves when a server has the connection of an agent. */
export async function connectedTo({ agents }: Pick<Replica, 'agents'>, agent: string, instance: string): Promise<void> {
  await expect
    .poll(async () => {
      const found = (await agents.list.query()).find(({ name }) => name === agent)
      return found?.isConnected === true && found.instance
    })
    .toBe(instance)
}
