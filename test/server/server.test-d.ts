/** Types only: `npm run check` compiles this file, nothing runs it. */
import type { Server } from 'node:http'
import { initTRPC } from '@trpc/server'
import { expectTypeOf } from 'vitest'
import { ParkedDial } from '../../client/index.js'
import { type ConnectionGroup, serveDial, serveDuplex, serveWebSockets } from '../../server/index.js'
import type { Duplex } from '../../shared/index.js'

declare const duplex: Duplex
declare const webSockets: { server: Server; path: string; group: ConnectionGroup }

const needs = initTRPC.context<{ user: string }>().create().router({})
const may = initTRPC.context<{ user?: string }>().create().router({})
const none = initTRPC.create().router({})

// @ts-expect-error the context has a required member
serveDuplex({ duplex, router: needs })
// @ts-expect-error the context has a required member
serveWebSockets({ ...webSockets, router: needs })
// @ts-expect-error a context without its member
serveDuplex({ duplex, router: needs, createContext: () => ({}) })
// @ts-expect-error a context without its member
serveWebSockets({ ...webSockets, router: needs, createContext: () => ({}) })
serveDuplex({ duplex, router: needs, createContext: () => ({ user: 'alice' }) })
serveDuplex({ duplex, router: may })
serveDuplex({ duplex, router: none })
serveWebSockets({ ...webSockets, router: may })
serveWebSockets({ ...webSockets, router: none })
serveWebSockets({
  ...webSockets,
  router: needs,
  authenticate: ({ authorization }) => ({ name: authorization ?? 'nobody' }),
  createContext({ identity, connectionParams }) {
    expectTypeOf(identity).toEqualTypeOf<{ name: string }>()
    expectTypeOf(connectionParams).toEqualTypeOf<Readonly<Record<string, string>> | null>()
    return { user: identity.name }
  },
})

// Either side serves the router.
serveWebSockets({ ...webSockets, onDuplex: taken => taken.close({ code: 1000, message: 'not now' }) })
serveWebSockets({
  ...webSockets,
  authenticate: ({ authorization }) => ({ name: authorization ?? 'nobody' }),
  onDuplex(_taken, { identity }) {
    expectTypeOf(identity).toEqualTypeOf<{ name: string }>()
  },
})
// @ts-expect-error a router and onDuplex
serveWebSockets({ ...webSockets, router: none, onDuplex: () => {} })
// @ts-expect-error neither
serveWebSockets(webSockets)
// @ts-expect-error a context without a router
serveWebSockets({ ...webSockets, onDuplex: () => {}, createContext: () => ({}) })
// @ts-expect-error the context has a required member
serveDial({ dial: () => duplex, router: needs })
serveDial({ dial: () => duplex, router: needs, createContext: () => ({ user: 'alice' }) })

new ParkedDial().bring(duplex)
// @ts-expect-error the facts are missing
new ParkedDial<{ instance: string }>().bring(duplex)
