import type { IncomingMessage } from 'node:http'
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import { Rejection } from '../wire/rejection.js'

/**
 * Reads the whole body, as received.
 * @throws Rejection 413 as soon as the body is known to be larger than `maxBytes`. Up to the same size again is read
 *   and dropped, so that the client sees the response rather than a reset.
 * @throws Rejection 400 if the client disconnects inside the body
 */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const announced = Number(request.headers['content-length'] ?? 0)
    const rejectSize = (size: string) => {
      stop()
      dropRest(request, maxBytes)
      reject(
        new Rejection(
          413,
          'body_too_large',
          `request body of ${size} bytes is larger than maxBodyBytes ${format(maxBytes)}`,
        ),
      )
    }
    const onData = (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBytes) rejectSize(`at least ${format(bytes)}`)
      else chunks.push(chunk)
    }
    const onEnd = () => {
      stop()
      const [only] = chunks
      resolve(only && chunks.length === 1 ? only : Buffer.concat(chunks, bytes))
    }
    const onClose = () => {
      stop()
      reject(new Rejection(400, 'body_incomplete', `the request body ended after ${format(bytes)} bytes`))
    }
    const stop = () => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
    }
    if (announced > maxBytes) return rejectSize(format(announced))
    if (request.destroyed) return onClose()
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

/**
 * Returns the JSON object of a body.
 * @param encoding the header `Content-Encoding`
 * @throws Rejection 400 if the body is encoded or not a JSON object
 */
export function parseJsonBody(body: Buffer, encoding: string | undefined): JsonObject {
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new Rejection(
      400,
      'body_not_json',
      `request bodies in the encoding ${JSON.stringify(encoding)} are not supported: send plain JSON`,
    )
  }
  let json: unknown
  try {
    json = JSON.parse(body.toString())
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Rejection(
      400,
      'body_not_json',
      `the request body of ${body.length.toLocaleString('en')} bytes is not JSON: ${reason}`,
    )
  }
  if (!isPlainObject(json)) throw new Rejection(400, 'body_not_json', 'the request body is JSON, but not an object')
  return json as JsonObject // came out of JSON.parse
}

function dropRest(request: IncomingMessage, maxBytes: number): void {
  let dropped = 0
  request.on('error', () => {}) // the client may disconnect; the rest is dropped anyway
  request.on('data', (chunk: Buffer) => {
    dropped += chunk.length
    if (dropped > maxBytes) request.destroy()
  })
}

function format(bytes: number): string {
  return bytes.toLocaleString('en')
}
