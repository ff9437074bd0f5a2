/** Two kinds of fetch, as a table. Both must observe the same of a handler. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHandlerFetch, type RequestHandler } from '../../../../client/bridge/in-process/handler-fetch.js'

export interface FetchRow {
  name: string
  inProcess: boolean
  open(handler: RequestHandler): Promise<OpenedFetch>
}

export interface OpenedFetch {
  fetch: typeof fetch
  /** address of the handler, without a slash at its end */
  url: string
  close(): Promise<void>
}

export const fetchRows: FetchRow[] = [
  {
    name: 'the fetch of this process',
    inProcess: true,
    open: async handler => ({
      fetch: createHandlerFetch(handler),
      url: 'http://handler.example',
      close: async () => {},
    }),
  },
  {
    name: "Node's own fetch over node:http",
    inProcess: false,
    async open(handler) {
      const server = createServer((request, response) => void handler(request, response))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo // listening on TCP
      return {
        fetch,
        url: `http://127.0.0.1:${port}`,
        close: () =>
          new Promise(resolve => {
            server.close(() => resolve())
            server.closeAllConnections()
          }),
      }
    },
  },
]
