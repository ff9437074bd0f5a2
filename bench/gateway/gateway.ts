/** The measured programs: one for each row, each in a process of its own. */
import { peerFile } from '../rows/peers.js'
import { type Child, startChild } from './child.js'
import type { Counts } from './conversation.js'
import { startServe } from './serve.js'

/** A gateway that runs, or the provider in its place. */
export interface Gateway {
  name: string
  does: string
  /** the process that is measured; undefined for the provider, which is only compared with */
  pid: number | undefined
  /** takes a `POST` of Chat Completions */
  url: string
  headers: Readonly<Record<string, string>>
  /** Resolves with the sums of the stored records; undefined for a gateway that records nothing. */
  recorded?: () => Promise<Counts>
  stop(): Promise<void>
}

/** Starts one row, which calls the provider at `origin` with a path that begins with `/<name>`. */
export type StartGateway = (origin: string, name: string) => Promise<Gateway>

const json = { 'content-type': 'application/json' }

/** The provider alone, which shows the cost of clients and provider. */
export const providerAlone: StartGateway = async (origin, name) => ({
  name,
  does: 'the stand-in provider itself',
  pid: undefined,
  url: `${origin}/${name}/v1/chat/completions`,
  headers: json,
  stop: async () => {},
})

/** The floor of every gateway on Node. */
export const bareProxy: StartGateway = async (origin, name) => {
  const { child, first } = await startChild(new URL('bare-proxy.js', import.meta.url), [origin])
  const url = `${first}/${name}/v1/chat/completions`
  return {
    name,
    does: 'node:http and undici pass bytes on, nothing is read or kept',
    ...measured(child),
    url,
    headers: json,
  }
}

export const portkey: StartGateway = async (origin, name) => {
  const { child, first } = await startChild(peerFile('portkey'))
  return {
    name,
    does: '@portkey-ai/gateway 1.15.2 as its command runs it, which records nothing',
    ...measured(child),
    url: `${first}/v1/chat/completions`,
    headers: {
      ...json,
      authorization: 'Bearer sk-bench-0123456789',
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `${origin}/${name}/v1`,
    },
  }
}

/**
 * The program of this project with its defaults: the control plane, an embedded store and a daemon in one process.
 * @param build the folder of a build, such as dist/
 */
export function aibridgeServe(build: string): StartGateway {
  return async (origin, name) => {
    const serve = await startServe(build, `${origin}/${name}/v1`)
    return {
      name,
      does: 'aibridge serve with its defaults, which records every request and its tokens',
      pid: serve.pid,
      url: `${serve.baseUrl}/chat/completions`,
      headers: { ...json, authorization: `Bearer ${serve.key}` },
      recorded: serve.recorded,
      stop: serve.stop,
    }
  }
}

function measured(child: Child): Pick<Gateway, 'pid' | 'stop'> {
  return { pid: child.pid, stop: child.stop }
}
