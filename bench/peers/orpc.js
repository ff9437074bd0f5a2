// @ts-nocheck The peers' types are there only after their installation.
import { createORPCClient } from '@orpc/client'
import { RPCLink } from '@orpc/client/websocket'
import { os } from '@orpc/server'
import { RPCHandler } from '@orpc/server/ws'
import { z } from 'zod'

export const does = 'RPCLink and the RPCHandler for ws; zod through .input(); an event iterator'

export const ends = {
  serve(service, { serveBare }) {
    const router = {
      recordTokenUsage: os.input(service.schema).handler(({ input }) => service.recordTokenUsage(input)),
      echo: os.input(service.schema).handler(({ input }) => service.echo(input)),
      items: os.input(z.number()).handler(({ input }) => service.items(input)),
    }
    const handler = new RPCHandler(router)
    return serveBare(wss => wss.on('connection', socket => void handler.upgrade(socket)))
  },
  async connect(url, { openBare }) {
    const socket = await openBare(url)
    const client = createORPCClient(new RPCLink({ websocket: socket }))
    return {
      call: record => client.recordTokenUsage(record),
      echo: record => client.echo(record),
      async subscribe(count, onItem) {
        for await (const item of await client.items(count)) onItem(item)
      },
      async close() {
        socket.terminate()
      },
    }
  },
}
