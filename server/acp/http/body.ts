/** The message in the body of a POST: bounded while it is read, and parsed once. */
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { acpError } from '../../../shared/acp/errors.js'
import { type AcpMessage, checkMessage } from '../../../shared/acp/messages.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { shapeFault } from '../../../shared/rpc/json/json-shape.js'

/** Bounds of a body. */
export interface BodyLimits {
  readonly maxMessageBytes: number
  readonly bodyTimeoutMs: number
}

/**
 * Throws the rejection of a body that is no JSON by its headers.
 * @throws RpcError `UNSUPPORTED_MEDIA_TYPE` (content_type_unsupported)
 */
export function checkContentType({ headers }: IncomingMessage): void {
  const [type = ''] = (headers['content-type'] ?? '').split(';', 1)
  if (type.trim().toLowerCase() !== 'application/json') {
    throw acpError('content_type_unsupported', `the body must be application/json, not ${JSON.stringify(type)}`)
  }
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw acpError('content_type_unsupported', 'the body must not be compressed')
  }
}

/**
 * Reads the message of a request.
 * @throws RpcError `PAYLOAD_TOO_LARGE` (message_too_large), `TIMEOUT` (body_timeout), `PARSE_ERROR` (parse_error), as
 *   `checkMessage`, and `CLIENT_CLOSED_REQUEST` if the client leaves
 */
export async function readMessage(request: IncomingMessage, limits: BodyLimits): Promise<AcpMessage> {
  return parseMessage(await readBody(request, limits))
}

/**
 * Parses the bytes of one message.
 * @throws RpcError as {@link readMessage}
 */
export function parseMessage(body: Buffer): AcpMessage {
  if (!isUtf8(body)) throw acpError('parse_error', 'the body is not valid UTF-8')
  return parseText(body.toString())
}

/**
 * Parses the text of one message.
 * @throws RpcError as {@link readMessage}
 */
export function parseText(text: string): AcpMessage {
  const fault = shapeFault(text)
  if (fault !== undefined) throw acpError('invalid_request', fault)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw acpError('parse_error', 'the message is not JSON', { cause })
  }
  return checkMessage(value)
}

function readBody(request: IncomingMessage, { maxMessageBytes, bodyTimeoutMs }: BodyLimits): Promise<Buffer> {
  const tooLarge = (bytes: string): RpcError<string> => {
    const limit = maxMessageBytes.toLocaleString('en')
    return acpError('message_too_large', `a body of ${bytes} bytes is larger than maxMessageBytes ${limit}`)
  }
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > maxMessageBytes) return Promise.reject(tooLarge(announced.toLocaleString('en')))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const stop = (): void => {
      clearTimeout(timer)
      request.off('data', onData)
      request.off('end', onEnd)
      request.off('close', onClose)
    }
    const fail = (error: RpcError<string>): void => {
      stop()
      reject(error)
    }
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      chunks.push(chunk)
      if (bytes > maxMessageBytes) fail(tooLarge(`more than ${bytes.toLocaleString('en')}`))
    }
    const onEnd = (): void => {
      stop()
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks))
    }
    const onClose = (): void =>
      fail(new RpcError('CLIENT_CLOSED_REQUEST', 'the client left before the end of the body'))
    const timer = setTimeout(() => {
      const ms = bodyTimeoutMs.toLocaleString('en')
      fail(acpError('body_timeout', `${bytes.toLocaleString('en')} bytes of the body arrived within ${ms} ms`))
    }, bodyTimeoutMs).unref()
    request.on('data', onData)
    request.on('end', onEnd)
    request.on('close', onClose)
  })
}
