/** Short messages about what the page has done. */
import { useSyncExternalStore } from 'react'

/** A message. It leaves by itself, a failure later than a success. */
export interface Notice {
  id: number
  tone: 'ok' | 'bad'
  text: string
}

const shownMs = { ok: 4_000, bad: 10_000 }
let notices: readonly Notice[] = []
let lastId = 0
const listeners = new Set<() => void>()

function set(next: readonly Notice[]): void {
  notices = next
  for (const listener of listeners) listener()
}

/** Shows a message. */
export function notify(tone: Notice['tone'], text: string): void {
  const id = ++lastId
  set([...notices.slice(-3), { id, tone, text }])
  setTimeout(() => dismiss(id), shownMs[tone])
}

/** Removes a message. */
export function dismiss(id: number): void {
  if (notices.some(notice => notice.id === id)) set(notices.filter(notice => notice.id !== id))
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Returns the messages that are shown, and renders again after each change. */
export function useNotices(): readonly Notice[] {
  return useSyncExternalStore(subscribe, () => notices)
}
