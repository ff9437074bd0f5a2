/** The page's one connection to the server: a WebSocket with the session's cookie. */
import { useSyncExternalStore } from 'react'
import {
  type Connection,
  type ConnectionState,
  connect,
  createDuplexClient,
  webSocketDial,
} from '../../../client/browser/index.js'
import type { AppRouter } from '../../../server/routers/app.js'
import { finalCloseCodes } from '../../../shared/contract/close-codes.js'
import { apiVersion } from '../../../shared/contract/version.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { formatVersion } from '../../../shared/rpc/version.js'
import { loadSession } from './session.js'

/** Typed stubs of every procedure. */
export type Api = ReturnType<typeof createDuplexClient<AppRouter>>

let current: { connection: Connection; api: Api } | undefined
const listeners = new Set<() => void>()

function notify(): void {
  for (const listener of listeners) listener()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function rpcUrl(): URL {
  const url = new URL('/rpc', window.location.href)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  url.searchParams.set('version', formatVersion(apiVersion))
  return url
}

/** Connects once somebody is signed in. Does nothing if a connection exists. */
export function openClient(): void {
  if (current) return
  const connection = connect({ dial: webSocketDial({ url: rpcUrl() }), finalCloseCodes })
  const api = createDuplexClient<AppRouter>({ connection, transformer })
  current = { connection, api }
  connection.onStateChange(state => {
    notify()
    // A browser hides why an upgrade was rejected: the session itself says whether it still counts.
    if (state === 'waiting' || state === 'closed') void loadSession()
  })
  notify()
}

/** Closes the connection after the end of a session. */
export function closeClient(): void {
  const closed = current
  current = undefined
  void closed?.connection.close()
  notify()
}

/** Returns the stubs of the connection. */
export function api(): Api {
  if (!current) throw new Error('the page is not connected')
  return current.api
}

/** Returns the state of the connection, and renders again after each change. */
export function useConnectionState(): ConnectionState {
  return useSyncExternalStore(subscribe, () => current?.connection.state ?? 'closed')
}
