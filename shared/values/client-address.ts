/** The address of a client, also behind proxies that the operator trusts. */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'

/** Returns the client's address; undefined for a caller in this process. */
export type AddressReader = (request: IncomingMessage) => string | undefined

/** Proxies between a client and this bridge; a longer chain is made up. */
const maxProxies = 32

/**
 * Makes the reader of client addresses. Without trusted proxies the address is that of the connection. Behind a trusted
 * proxy it is the last address of `X-Forwarded-For` (else of `Forwarded`) that is no trusted proxy's: a client can make
 * up all addresses before that one.
 * @param trustedProxies addresses, and networks as `10.0.0.0/8`
 * @throws the error of `net.BlockList` for text that is neither
 */
export function createAddressReader(trustedProxies: readonly string[]): AddressReader {
  const trusted = new BlockList()
  for (const text of trustedProxies) addNetwork(trusted, text)
  const isTrusted = (address: string) => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  return request => {
    let address = plainAddress(request.socket.remoteAddress ?? '')
    if (trustedProxies.length === 0) return address
    const forwarded = forwardedAddresses(request)
    for (let hops = 0; hops < maxProxies && address !== undefined && isTrusted(address); hops++) {
      const before = plainAddress(forwarded.pop() ?? '')
      if (before === undefined) return address
      address = before
    }
    return address
  }
}

function addNetwork(list: BlockList, text: string): void {
  const [address = '', bits] = text.split('/')
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  if (bits === undefined) list.addAddress(address, family)
  else list.addSubnet(address, Number(bits), family)
}

/** The addresses that the proxies wrote, the client's first; text that is no address stays in its place. */
function forwardedAddresses({ headers }: IncomingMessage): string[] {
  const chain = headers['x-forwarded-for']
  const text = Array.isArray(chain) ? chain.join(',') : chain
  if (text !== undefined) return text.split(',')
  return (headers.forwarded ?? '').split(',').map(hop => /(?:^|;)\s*for\s*=\s*([^;]*)/i.exec(hop)?.[1] ?? '')
}

/** Returns the address without quotes, brackets, port and the prefix of an IPv4 address; undefined for other text. */
function plainAddress(text: string): string | undefined {
  const unquoted = text.trim().replace(/^"(.*)"$/, '$1')
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(unquoted)?.[1] ?? unquoted.replace(/^([\d.]+):\d+$/, '$1')
  const address = bare.replace(/^::ffff:(?=[\d.]+$)/i, '')
  return isIP(address) === 0 ? undefined : address
}
