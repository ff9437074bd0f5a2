/** The place of the page in the browser's history: path and search of the address bar. */
import { useMemo, useSyncExternalStore } from 'react'

const listeners = new Set<() => void>()

function notify(): void {
  for (const listener of listeners) listener()
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener('popstate', notify)
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) window.removeEventListener('popstate', notify)
  }
}

const href = (): string => window.location.pathname + window.location.search

/** Returns path and search of the address bar, and renders again after each change. */
export function useHref(): string {
  return useSyncExternalStore(subscribe, href)
}

/** Goes to a path of this page. `replace` leaves no entry in the history. */
export function navigate(target: string, { replace = false } = {}): void {
  if (target === href()) return
  if (replace) window.history.replaceState(null, '', target)
  else window.history.pushState(null, '', target)
  notify()
}

/** Values of filters: a text for each name; an absent or empty text is no filter. */
export type Search = Readonly<Record<string, string>>

/** Returns the filters of the address bar, and a function that changes some of them in place. */
export function useSearch(): [Search, (change: Record<string, string | undefined>) => void] {
  const { search: text } = new URL(useHref(), window.location.origin)
  // The same object for the same address: values are made from it once.
  const search = useMemo(() => Object.fromEntries(new URLSearchParams(text)), [text])
  const change = (changes: Record<string, string | undefined>): void => {
    navigate(withSearch(window.location.pathname, { ...search, ...changes }), { replace: true })
  }
  return [search, change]
}

/** Returns a path with filters; empty and absent ones are left out. */
export function withSearch(path: string, search: Record<string, string | undefined>): string {
  const entries = Object.entries(search).flatMap(([name, value]) => (value ? [[name, value]] : []))
  const text = new URLSearchParams(entries).toString()
  return text === '' ? path : `${path}?${text}`
}
