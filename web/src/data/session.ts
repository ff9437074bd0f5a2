/** Who is signed in. The secret is a cookie that scripts cannot read; the page knows name and role alone. */
import { useSyncExternalStore } from 'react'

/** The signed-in person. `userId` is null for an operator. */
export interface Session {
  role: 'admin' | 'user'
  userId: string | null
  username: string
  expiresAt: string | null
}

/** What the page knows of its session. `notice` says why a session has ended. */
export type SessionState =
  | { name: 'loading' }
  | { name: 'signed-out'; notice?: string }
  | { name: 'signed-in'; session: Session }
  | { name: 'unreachable' }

let state: SessionState = { name: 'loading' }
const listeners = new Set<() => void>()

function set(next: SessionState): void {
  state = next
  for (const listener of listeners) listener()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Returns the state of the session, and renders again after each change. */
export function useSessionState(): SessionState {
  return useSyncExternalStore(subscribe, () => state)
}

/** Returns the signed-in person. Views exist only for a signed-in person. */
export function useSession(): Session {
  return sessionOf(useSessionState())
}

/** Returns the signed-in person, outside of components. */
export function currentSession(): Session {
  return sessionOf(state)
}

function sessionOf(current: SessionState): Session {
  if (current.name !== 'signed-in') throw new Error('nobody is signed in')
  return current.session
}

/** Asks the server for the session of the cookie. Keeps a signed-in state if the server is not reached. */
export async function loadSession(): Promise<void> {
  const wasSignedIn = state.name === 'signed-in'
  try {
    const response = await fetch('/session', { headers: { accept: 'application/json' }, cache: 'no-store' })
    if (response.ok) {
      const session: Session = await response.json()
      // The same session again: no view renders anew.
      if (!wasSignedIn || JSON.stringify(session) !== JSON.stringify(sessionOf(state))) {
        set({ name: 'signed-in', session })
      }
    } else if (response.status === 401) {
      if (wasSignedIn) set({ name: 'signed-out', notice: 'The session has ended. Sign in again.' })
      else if (state.name !== 'signed-out') set({ name: 'signed-out' })
    } else if (!wasSignedIn) set({ name: 'unreachable' })
  } catch {
    if (!wasSignedIn) set({ name: 'unreachable' })
  }
}

/**
 * Signs in with the admin token or a user's key.
 * @returns a sentence if the server rejects the key, or undefined
 */
export async function signIn(key: string): Promise<string | undefined> {
  let response: Response
  try {
    response = await fetch('/session', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ key }),
    })
  } catch {
    return 'The server cannot be reached. Check the network and try again.'
  }
  if (response.ok) {
    set({ name: 'signed-in', session: await response.json() })
    return undefined
  }
  if (response.status === 401) return 'This key is not valid. It may be mistyped, expired or revoked.'
  if (response.status === 403) return (await messageOf(response)) ?? 'This key may not sign in.'
  if (response.status === 429) {
    const seconds = Number(response.headers.get('retry-after')) || 60
    return `Too many attempts from this address. Try again in ${seconds} s.`
  }
  return (await messageOf(response)) ?? `The server answered with status ${response.status}.`
}

async function messageOf(response: Response): Promise<string | undefined> {
  const body: unknown = await response.json().catch(() => undefined)
  const message: unknown = Reflect.get(Object(body), 'message')
  return typeof message === 'string' && message !== '' ? message : undefined
}

/** Ends the session on every server. A server that is not reached leaves the person signed in, and the call rejects. */
export async function signOut(): Promise<void> {
  const response = await fetch('/session', { method: 'DELETE' })
  if (!response.ok && response.status !== 401) throw new Error(`the session was not ended: status ${response.status}`)
  set({ name: 'signed-out' })
}
