import type { Item, Service, TokenUsage } from './service.js'

/** One line of the comparison. */
export interface Row {
  name: string
  /** what one call of this row does */
  does: string
  /** Opens one connection, both ends in this process. */
  open(service: Service): Promise<OpenRow>
  /** whether `open` makes a connection, whose heap is measured while it is idle */
  isConnection?: true
  /** The two ends apart, where the connection has a server of its own. */
  ends?: Ends
}

/** The client's end of a connection. */
export interface OpenRow {
  /** Resolves with the `{}` of the handler. */
  call(record: TokenUsage): Promise<unknown>
  /** Resolves with the record after both ways. */
  echo(record: TokenUsage): Promise<unknown>
  /** Resolves at the end of a stream of `count` items. */
  subscribe?(count: number, onItem: (item: Item) => void): Promise<void>
  close(): Promise<unknown>
}

/** A server, and a client that opens one connection to it. */
export interface Ends {
  serve(service: Service): Promise<{ url: string; close(): Promise<void> }>
  connect(url: string): OpenRow | Promise<OpenRow>
}

/** Makes a row of two ends on loopback. */
export function overLoopback(row: { name: string; does: string; ends: Ends }): Row {
  return { ...row, open: service => openBoth(row.ends, service) }
}

/** Opens one connection between two ends in this process. */
export async function openBoth({ serve, connect }: Ends, service: Service): Promise<OpenRow> {
  const server = await serve(service)
  const client = await connect(server.url)
  return {
    ...client,
    async close() {
      await client.close()
      await server.close()
    },
  }
}
