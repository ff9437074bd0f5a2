import { SuperJSON } from 'superjson'
import { openBare, serveBare } from './listening.js'
import type { Row } from './row.js'
import { records, type TokenUsage } from './service.js'

const superjson = new SuperJSON()

/** The request of tRPC's wire protocol for a record. */
const textOf = (record: TokenUsage): string =>
  JSON.stringify({
    id: 1,
    method: 'mutation',
    params: { path: 'recorder.recordTokenUsage', input: superjson.serialize(record) },
  })

/** What the operating system and `ws` cost, below every row over a WebSocket. */
export const echoRow: Row = {
  name: 'ws echo',
  does: 'the text of the same request, sent back by a bare ws server: the floor of every WebSocket row, nothing is parsed',
  async open(service) {
    const texts = new Map(records.map(record => [record, textOf(record)]))
    const server = await serveBare(wss =>
      wss.on('connection', socket => socket.on('message', data => socket.send(data.toString()))),
    )
    const socket = await openBare(server.url)
    // The echo keeps the order. A Map, because shift() of an array with 1,024 entries moves them all.
    const waiting = new Map<number, (text: string) => void>()
    let sent = 0
    let received = 0
    socket.on('message', data => {
      waiting.get(received)?.(data.toString())
      waiting.delete(received++)
    })
    const send = (text: string, onEcho: (echo: string) => void): void => {
      waiting.set(sent++, onEcho)
      socket.send(text)
    }
    return {
      call(record) {
        const text = texts.get(record) ?? ''
        return new Promise(resolve => {
          // A text that comes back whole has arrived whole.
          send(text, echo => resolve(echo === text ? service.recordTokenUsage(record) : undefined))
        })
      },
      async echo(record) {
        const { params } = JSON.parse(await new Promise<string>(resolve => send(textOf(record), resolve)))
        return superjson.deserialize(params.input)
      },
      async close() {
        socket.terminate()
        await server.close()
      },
    }
  },
}
