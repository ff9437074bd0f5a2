import type { Message } from '../../shared/rpc/duplex.js'
import { heapBytes } from '../../shared/rpc/json/heap-bytes.js'
import { frameOverheadBytes, unauthenticatedLimits } from '../../shared/rpc/limits.js'
import type { ConnectionGroup } from './connection-group.js'

const { firstFrameBytes, lateBytes, peerBytes, pingBytes, totalBytes } = unauthenticatedLimits

/** The memory of the frames of all unauthenticated peers of one group. */
interface Total {
  bytes: number
}

const totals = new WeakMap<ConnectionGroup, Total>()

function totalOf(group: ConnectionGroup | undefined): Total {
  const total = (group && totals.get(group)) ?? { bytes: 0 }
  if (group) totals.set(group, total)
  return total
}

/**
 * Limits what a peer may send until its identity is known, see {@link unauthenticatedLimits}. A frame counts until then
 * also after its end: frames that leave nothing in memory cost time. Methods return the first fault of a peer that is
 * above a limit.
 */
export class UnauthenticatedPeer {
  /** Called once, by {@link release}. */
  onRelease: (() => void) | undefined
  /** set for good by the first frame above a limit */
  fault: string | undefined
  readonly #total: Total
  #bytes = 0
  #pingBytes = 0
  /** bytes of the message that is arriving, and the memory of its parts */
  #partialBytes = 0
  /** whether the next message is `connectionParams`, which has a limit of its own */
  #expectsParams: boolean
  /** bytes after the close by this side; undefined before */
  #lateBytes: number | undefined

  constructor(group: ConnectionGroup | undefined, expectsParams = false) {
    this.#total = totalOf(group)
    this.#expectsParams = expectsParams
  }

  /** Counts a complete message. */
  take(message: Message, bytes: number): string | undefined {
    if (typeof message === 'string') return this.takePing()
    if (this.#expectsParams && bytes > firstFrameBytes) return this.#fail(firstFrameFault)
    this.#expectsParams = false
    return this.#charge(frameOverheadBytes + heapBytes(message, peerBytes))
  }

  /** Counts a frame without a message: a `PING`, a ping or a pong. */
  takePing(): string | undefined {
    if (this.#lateBytes !== undefined) return undefined
    this.#pingBytes += frameOverheadBytes
    if (this.#pingBytes > pingBytes) {
      return this.#fail(`more than ${(pingBytes / frameOverheadBytes).toLocaleString('en')} pings ${before}`)
    }
    return this.#charge(frameOverheadBytes)
  }

  /** Counts bytes of a message that is not complete; after the close, all bytes. */
  takePart(bytes: number): string | undefined {
    if (this.#lateBytes !== undefined) {
      this.#lateBytes += bytes + frameOverheadBytes
      return this.#lateBytes > lateBytes ? this.#fail('it sends on after the close') : undefined
    }
    this.#partialBytes += bytes + frameOverheadBytes
    // The end of an earlier frame may be a part of the same bytes, which are one chunk of 64 KiB at most.
    if (this.#expectsParams && this.#partialBytes > 2 * firstFrameBytes) return this.#fail(firstFrameFault)
    return this.#charge(bytes + frameOverheadBytes)
  }

  /** Ends a message: from now on its value counts, see {@link take}. */
  endPart(): void {
    this.#charge(-this.#partialBytes)
    this.#partialBytes = 0
  }

  /** Returns the fault of a message before it is parsed. */
  foresee(bytes: number): string | undefined {
    return this.#faultOf(bytes)
  }

  /** Reports the close by this side. A peer that sends on, instead of closing its end, costs time. */
  close(): void {
    this.#lateBytes ??= 0
  }

  /** Ends the limits. */
  release(): void {
    this.#charge(-this.#bytes)
    this.onRelease?.()
    this.onRelease = undefined
  }

  #charge(bytes: number): string | undefined {
    this.#bytes += bytes
    this.#total.bytes += bytes
    return this.#faultOf(0)
  }

  #faultOf(bytes: number): string | undefined {
    if (this.#bytes + bytes > peerBytes)
      return this.#fail(`more than ${peerBytes.toLocaleString('en')} bytes ${before}`)
    if (this.#total.bytes + bytes <= totalBytes) return undefined
    return this.#fail(`all unauthenticated peers together sent more than ${totalBytes.toLocaleString('en')} bytes`)
  }

  #fail(fault: string): string {
    this.fault ??= fault
    return this.fault
  }
}

const before = 'before authentication'
const firstFrameFault = `a first frame of more than ${firstFrameBytes.toLocaleString('en')} bytes`
