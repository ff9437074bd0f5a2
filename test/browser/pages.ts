import type { TRPCClient } from '@trpc/client'
import type * as aibridge from '../../client/browser/index.js'
import type { Router } from './router.js'

/** What {@link program} puts into the global scope of a page. Functions that run there see nothing else. */
export interface PageScope {
  aibridge: typeof aibridge
  superjson: { serialize(value: unknown): unknown; deserialize(value: unknown): unknown }
  /** breaches of the page's policy */
  violations: string[]
  /** the page's connection, between two steps of a test */
  kept: {
    connection: aibridge.Connection
    client: TRPCClient<Router>
    states: string[]
    events: number[]
    result?: unknown
  }
}

/** A page's program: the public names of `aibridge/client`, for the functions of a test. */
export const program = `
  import * as aibridge from 'aibridge/client'
  import superjson from 'superjson'
  const violations = []
  addEventListener('securitypolicyviolation', event => violations.push(event.effectiveDirective + ' ' + event.blockedURI))
  Object.assign(globalThis, { aibridge, superjson, violations })
`

/** Strict: scripts of the page's own server, connections to any, and no eval. */
export const policy = "default-src 'none'; script-src 'self'; connect-src *; base-uri 'none'; form-action 'none'"

/** The page with the program, `/page.js`. */
export const html = '<!doctype html><title>page</title><script type="module" src="/page.js"></script>'
