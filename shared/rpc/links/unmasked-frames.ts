/** Text frames as a server sends them: without a mask and without extensions (RFC 6455, section 5.2). */

/** FIN, and the opcode of a text frame. */
const finalText = 0x81
/** Longest payload whose length stands in the second byte; longer ones have 2 or 8 bytes for it behind. */
const maxShortLength = 125
const extended16 = 126
const extended64 = 127
const longestHeader = 10

/** Returns the frames of some texts, one behind the other. */
export function unmaskedFrames(texts: readonly string[]): Buffer {
  let bound = 0
  for (const text of texts) bound += Buffer.byteLength(text) + longestHeader
  const frames = Buffer.allocUnsafe(bound)
  let end = 0
  for (const text of texts) end = writeFrame(frames, end, text)
  return frames.subarray(0, end)
}

/** Writes one frame, and returns the place behind it. */
function writeFrame(frames: Buffer, start: number, text: string): number {
  const length = Buffer.byteLength(text)
  frames[start] = finalText
  let end = start + 2
  if (length <= maxShortLength) frames[start + 1] = length
  else if (length <= 0xffff) {
    frames[start + 1] = extended16
    end = frames.writeUInt16BE(length, end)
  } else {
    frames[start + 1] = extended64
    end = frames.writeUInt32BE(0, end)
    end = frames.writeUInt32BE(length, end)
  }
  return end + frames.write(text, end)
}
