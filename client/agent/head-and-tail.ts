import type { TruncatedOutput } from '../../shared/contract/agents.js'

/** Sizes of a {@link HeadAndTail}, in bytes. */
export interface HeadAndTailLimits {
  headBytes: number
  tailBytes: number
  maxLineBytes: number
}

/** The text of an output, and what is missing in it. */
export interface KeptOutput {
  output: string
  truncated?: TruncatedOutput
}

/** The rest of a line that was too long. It belongs behind the kept byte number `at`. */
interface Gap {
  readonly at: number
  omittedBytes: number
}

/** A stretch of kept bytes; a cut side ends at the boundary of a character. */
interface Stretch {
  from: number
  to: number
  cutSide: 'start' | 'end' | 'none'
}

/**
 * Keeps the first and the last bytes of an output of any length, in constant memory. Lines are shortened first; the
 * head and the tail are cut out of the shortened lines. The result depends on the bytes alone, not on how the bytes
 * were divided into chunks.
 */
export class HeadAndTail {
  readonly #limits: HeadAndTailLimits
  #writtenBytes = 0
  /** bytes of shortened lines; kept byte `n` stands in the head, then in a ring behind the head */
  #keptBytes = 0
  /** head and tail, as large as needed so far */
  #store = Buffer.alloc(0)
  /** of the line under way */
  #lineBytes = 0
  /** while the line under way is too long */
  #openGap: Gap | undefined
  /** in order; those between head and tail are dropped */
  #gaps: Gap[] = []
  #cutLines = 0

  constructor(limits: HeadAndTailLimits) {
    this.#limits = limits
  }

  /** Takes the next bytes of the output. The chunk may be used again afterwards. */
  write(chunk: Buffer): void {
    this.#writtenBytes += chunk.length
    let keepFrom = 0
    let at = 0
    while (at < chunk.length) {
      if (this.#openGap) {
        keepFrom = at = this.#skipLine(this.#openGap, chunk, at)
        continue
      }
      // The line may reach this byte if the byte ends it. Looking back from there passes over many short lines at once.
      const limit = at + this.#limits.maxLineBytes - this.#lineBytes
      const lineEnd = chunk.lastIndexOf(newline, limit)
      if (lineEnd >= at) {
        at = lineEnd + 1
        this.#lineBytes = 0
      } else if (limit >= chunk.length) {
        this.#lineBytes += chunk.length - at
        at = chunk.length
      } else {
        this.#keep(chunk.subarray(keepFrom, limit))
        this.#openLineGap()
        keepFrom = at = limit
      }
    }
    if (!this.#openGap) this.#keep(chunk.subarray(keepFrom))
  }

  /**
   * Returns the text so far. While more may come, the first bytes of a character that is not whole are left for later.
   */
  read({ isWhole }: { isWhole: boolean }): KeptOutput {
    const { headBytes, tailBytes } = this.#limits
    const kept = this.#keptBytes
    const middle = kept > headBytes + tailBytes
    const first = this.#render({ from: 0, to: middle ? headBytes : kept, cutSide: middle ? 'end' : 'none' }, isWhole)
    const last = this.#render({ from: middle ? kept - tailBytes : kept, to: kept, cutSide: 'start' }, isWhole)
    const originalBytes = this.#writtenBytes - first.pendingBytes - last.pendingBytes
    const retainedBytes = first.retainedBytes + last.retainedBytes
    const omittedBytes = originalBytes - retainedBytes
    if (omittedBytes === 0) return { output: first.text }
    const middleBytes = omittedBytes - first.markedBytes - last.markedBytes
    const output = middle ? `${endLine(first.text)}[… ${bytes(middleBytes)} left out …]\n${last.text}` : first.text
    return { output, truncated: { originalBytes, retainedBytes, omittedBytes, cutLines: this.#cutLines } }
  }

  /** Leaves out bytes up to the end of the line; returns where the end of the line, or of the chunk, is. */
  #skipLine(gap: Gap, chunk: Buffer, from: number): number {
    const found = chunk.indexOf(newline, from)
    const end = found < 0 ? chunk.length : found
    gap.omittedBytes += end - from
    if (found >= 0) {
      this.#openGap = undefined
      this.#lineBytes = 0
    }
    return end
  }

  #openLineGap(): void {
    const { headBytes, tailBytes } = this.#limits
    const visible = this.#gaps.filter(({ at }) => at < headBytes || at >= this.#keptBytes - tailBytes)
    this.#openGap = { at: this.#keptBytes, omittedBytes: 0 }
    this.#gaps = [...visible, this.#openGap]
    this.#cutLines++
  }

  #keep(bytes: Buffer): void {
    const { headBytes, tailBytes } = this.#limits
    let at = Math.min(bytes.length, Math.max(0, headBytes - this.#keptBytes))
    this.#copy(bytes.subarray(0, at), this.#keptBytes)
    // Bytes in front of the last ones would be overwritten at once.
    at = Math.max(at, bytes.length - tailBytes)
    while (at < bytes.length) {
      const offset = (this.#keptBytes + at - headBytes) % tailBytes
      const part = bytes.subarray(at, at + tailBytes - offset)
      this.#copy(part, headBytes + offset)
      at += part.length
    }
    this.#keptBytes += bytes.length
  }

  #copy(bytes: Buffer, to: number): void {
    if (bytes.length === 0) return
    const needed = to + bytes.length
    if (needed > this.#store.length) {
      const { headBytes, tailBytes } = this.#limits
      const size = Math.min(headBytes + tailBytes, Math.max(needed, 2 * this.#store.length, smallestStore))
      const larger = Buffer.allocUnsafeSlow(size)
      this.#store.copy(larger)
      this.#store = larger
    }
    this.#store.set(bytes, to)
  }

  /** Returns kept bytes; `from` and `to` lie both in the head or both in the tail, or nothing has been overwritten. */
  #slice(from: number, to: number): Buffer {
    const { headBytes, tailBytes } = this.#limits
    if (to <= headBytes + tailBytes) return this.#store.subarray(from, to)
    const start = headBytes + ((from - headBytes) % tailBytes)
    const end = start + to - from
    const ringEnd = headBytes + tailBytes
    if (end <= ringEnd) return this.#store.subarray(start, end)
    return Buffer.concat([
      this.#store.subarray(start, ringEnd),
      this.#store.subarray(headBytes, headBytes + end - ringEnd),
    ])
  }

  /** Makes the text of a stretch, with a mark for each gap in it. */
  #render({ from, to, cutSide }: Stretch, isWhole: boolean) {
    const rendered = { text: '', retainedBytes: 0, markedBytes: 0, pendingBytes: 0 }
    const add = (bytes: Buffer): void => {
      rendered.text += bytes.toString('utf8')
      rendered.retainedBytes += bytes.length
    }
    const isMiddle = (at: number) => (cutSide === 'start' && at <= from) || (cutSide === 'end' && at >= to)
    let at = from
    let skip = cutSide === 'start' ? continuationBytes : none
    for (const gap of this.#gaps) {
      if (gap.at < from || gap.at > to || isMiddle(gap.at)) continue
      const line = this.#slice(at, gap.at)
      const whole = line.subarray(skip(line), line.length - unfinishedBytes(line))
      add(whole)
      const markedBytes = gap.omittedBytes + unfinishedBytes(line)
      rendered.text += ` [… ${bytes(markedBytes)} of this line left out]`
      rendered.markedBytes += markedBytes
      at = gap.at
      skip = none
    }
    const rest = this.#slice(at, to)
    const isCut = cutSide === 'end'
    const left = isCut || !isWhole ? unfinishedBytes(rest) : 0
    if (!isCut) rendered.pendingBytes = left
    add(rest.subarray(skip(rest), rest.length - left))
    return rendered
  }
}

const newline = 0x0a

/** Most outputs are a few lines. */
const smallestStore = 1024

const none = (): number => 0

function endLine(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}

function bytes(count: number): string {
  return count === 1 ? '1 byte' : `${count.toLocaleString('en')} bytes`
}

/** The number of bytes at the beginning that continue a character. */
function continuationBytes(bytes: Buffer): number {
  let count = 0
  while (count < 3 && isContinuation(bytes[count])) count++
  return count
}

/** The number of bytes at the end that begin a character and do not complete it. */
function unfinishedBytes(bytes: Buffer): number {
  for (let count = 1; count <= 3; count++) {
    const byte = bytes[bytes.length - count]
    if (isContinuation(byte)) continue
    return charBytes(byte) > count ? count : 0
  }
  return 0
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}

/** The length of a character by its first byte; 1 for a byte that begins none. */
function charBytes(byte: number | undefined): number {
  if (byte === undefined || byte < 0xc2 || byte > 0xf4) return 1
  return byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
}
