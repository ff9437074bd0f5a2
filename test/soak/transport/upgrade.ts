import { createHash } from 'node:crypto'

/** Returns the response with which a server accepts a request for a WebSocket (RFC 6455, section 4.2.2). */
export function upgradeResponse(request: Buffer): Buffer {
  const [, key = ''] = /^sec-websocket-key: *(\S+)/im.exec(request.toString()) ?? []
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return Buffer.from(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
}
