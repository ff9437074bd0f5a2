import { request as httpRequest, type OutgoingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'

/** A response, as far as the test of a provider reads it. */
export interface ModelsResponse {
  status: number
  /** undefined if the status is not 200, or the body is larger than the limit */
  body: string | undefined
}

/**
 * Sends one GET request on a connection of its own, and follows no redirect: a key goes to the configured host and to
 * no other.
 * @param maxBytes limit of the body; the connection is closed at the first byte above
 * @throws Error with a `code` of the system, of TLS or of Node's HTTP parser; `ABORT_ERR` if `signal` aborts
 */
export function requestModels(
  url: string,
  { headers, maxBytes, signal }: { headers: OutgoingHttpHeaders; maxBytes: number; signal: AbortSignal },
): Promise<ModelsResponse> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest
    const request = send(url, { headers, signal, agent: false })
    const finish = (response: ModelsResponse) => {
      resolve(response)
      request.destroy()
    }
    // Errors after the end, for instance of the connection that `finish` closes, find the promise settled.
    request.on('error', reject)
    request.on('response', response => {
      const { statusCode: status = 0 } = response
      if (status !== 200) return finish({ status, body: undefined })
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > maxBytes) finish({ status, body: undefined })
        else chunks.push(chunk)
      })
      response.on('end', () => finish({ status, body: Buffer.concat(chunks).toString() }))
      response.on('error', reject)
    })
    request.end()
  })
}
