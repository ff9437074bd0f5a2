import type { Socket } from 'node:net'

/**
 * Returns how many of the written bytes the system has taken from this process. The number grows while the peer reads,
 * also inside one large write, and stands still when the buffers of the system are full and the peer reads nothing.
 */
export function takenBytes(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength - systemQueue(socket)
}

/**
 * Returns the bytes of the write under way that the system has not taken yet. Node has no public name for the number
 * and uses it for the same purpose, in the idle timeout of its own sockets (lib/net.js, `_onTimeout`). Where the number
 * is missing, a large write counts when complete.
 */
function systemQueue(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle')
  const size: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'writeQueueSize') : 0
  return typeof size === 'number' ? size : 0
}
