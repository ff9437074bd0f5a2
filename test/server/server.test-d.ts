/** Types only: `npm run check` compiles this file, nothing runs it. */
import type { Server } from 'node:http'
import { initTRPC } from '@trpc/server'
import { expectTypeOf } from 'vitest'
import { type ConnectionGroup, serveDuplex, serveWebSockets } from '../../server/index.js'
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
