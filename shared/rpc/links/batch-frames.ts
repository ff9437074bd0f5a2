/**
 * Longest array frame that is sent, in UTF-16 code units: large enough that the cost of its header and system call is
 * nothing, small enough that a peer begins to work before all of a long queue has arrived.
 */
export const sentBatchLength = 32 * 1024

/**
 * Returns the frames for the texts of one turn: neighbouring messages as arrays, up to {@link sentBatchLength}. PING,
 * PONG, and messages that are arrays themselves, stay.
 */
export function batchFrames(texts: readonly string[]): string[] {
  const frames: string[] = []
  let batch: string[] = []
  let length = 0
  const endBatch = (): void => {
    if (batch.length > 0) frames.push(batch.length === 1 ? (batch[0] ?? '') : `[${batch.join(',')}]`)
    batch = []
    length = 0
  }
  for (const text of texts) {
    const isMessage = text[0] === '{'
    if (length + text.length > sentBatchLength || !isMessage) endBatch()
    if (!isMessage) {
      frames.push(text)
      continue
    }
    batch.push(text)
    length += text.length + 1
  }
  endBatch()
  return frames
}
