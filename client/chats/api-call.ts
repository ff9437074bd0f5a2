/** One call of a model as its API gets it. */
import type { ModelRequest, ModelResponse } from '../../server/services/chats/model.js'
import type { OptionalFields } from './optional-fields.js'
import type { ResponseParts } from './response-parts.js'

/** The parts of one call that every API needs. */
export interface ApiCall {
  /** calls the bridge of this process; the origin of a URL decides nothing */
  fetch: typeof fetch
  signal: AbortSignal
  /** takes the response */
  parts: ResponseParts
  /** fields that providers have rejected, see {@link OptionalFields} */
  optional: OptionalFields
}

/** Calls a model by one API, and puts the parts of its response into `call.parts`. */
export type CallApi = (request: ModelRequest, call: ApiCall) => Promise<Omit<ModelResponse, 'parts'>>
