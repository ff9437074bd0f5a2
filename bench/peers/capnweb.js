// @ts-nocheck The peers' types are there only after their installation.
import { newWebSocketRpcSession, RpcTarget } from 'capnweb'
import { WebSocket } from 'ws'

// capnweb reads the constants of the platform's class, which Node has from 22 on.
globalThis.WebSocket ??= WebSocket

export const does = 'a session of newWebSocketRpcSession at both ends, over ws; the handler calls zod; a ReadableStream'

export const ends = {
  serve(service, { serveBare }) {
    class Recorder extends RpcTarget {
      recordTokenUsage(input) {
        return service.recordTokenUsage(service.schema.parse(input))
      }
      echo(input) {
        return service.echo(service.schema.parse(input))
      }
      items(count) {
        const items = service.items(count)
        // The prototype of ReadableStream.from() in Node 20 is not the one that capnweb knows.
        return new ReadableStream({
          async pull(controller) {
            const { done, value } = await items.next()
            if (done) controller.close()
            else controller.enqueue(value)
          },
        })
      }
    }
    return serveBare(wss => wss.on('connection', socket => newWebSocketRpcSession(socket, new Recorder())))
  },
  async connect(url, { openBare }) {
    const socket = await openBare(url)
    const api = newWebSocketRpcSession(socket)
    return {
      call: record => api.recordTokenUsage(record),
      echo: record => api.echo(record),
      async subscribe(count, onItem) {
        for await (const item of await api.items(count)) onItem(item)
      },
      async close() {
        socket.terminate()
      },
    }
  },
}
