/** Admission: finds the owner of a request, its provider and its route. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { type ErrorCode, errorCodeOf } from '../../../shared/rpc/errors.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { Target } from '../control-plane/provider-registry.js'
import type { Route } from '../providers/provider-api.js'
import { controlPlaneUnreachable, Rejection } from '../wire/rejection.js'
import { type Credentials, type InProcessCaller, publicIdOf, readCredentials } from './credentials.js'
import type { Exchange, FrontDoorParts } from './exchange.js'
import { hasDotSegments, type Mount, pathBelow } from './mount.js'

/**
 * Admits a request: returns its route, and the exchange with owner and target.
 * @throws Rejection in the order of the checks, so that unauthenticated clients learn nothing about providers and
 *   routes
 */
export async function admit(
  parts: FrontDoorParts,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  mount: Mount,
  caller: InProcessCaller | undefined,
): Promise<{ exchange: Exchange; route: Route }> {
  const startedAt = new Date()
  const arrivedAt = performance.now()
  const credentials = readCredentials(request.headers, caller)
  if (!credentials) {
    throw new Rejection(
      401,
      'no_key',
      'no key was given: send it as X-Bridge-Token, Authorization: Bearer or X-Api-Key',
    )
  }
  const owner = await abortable(authorize(parts, credentials), signal)
  const target = await abortable(findTarget(parts, mount), signal)
  const method = request.method ?? ''
  const unsupported = new Rejection(
    404,
    'unknown_route',
    `route not supported: ${method} ${(request.url ?? '').replace(/\?.*$/s, '')}`,
  )
  if (!target) {
    if (mount.providerName === '') throw unsupported
    throw new Rejection(404, 'unknown_provider', `no provider is named ${JSON.stringify(mount.providerName)}`)
  }
  const path = pathBelow(mount.path, target.api.mountPath)
  const route = path === undefined || hasDotSegments(path) ? undefined : target.api.route(method, path)
  if (path === undefined || !route) throw unsupported
  if (!target.provider.enabled)
    throw new Rejection(503, 'provider_disabled', `the provider ${JSON.stringify(mount.providerName)} is disabled`)
  const pathAndQuery = path + mount.query
  return {
    exchange: {
      parts,
      request,
      response,
      signal,
      path: pathAndQuery,
      credentials,
      owner,
      target,
      startedAt,
      arrivedAt,
    },
    route,
  }
}

/** Codes of errors that reject the key. Any other code leaves the key unknown. */
const deniedCodes: readonly (ErrorCode | undefined)[] = ['UNAUTHORIZED', 'BAD_REQUEST', 'FORBIDDEN']

async function authorize({ authorizations, logger }: FrontDoorParts, credentials: Credentials): Promise<Authorization> {
  try {
    return await authorizations.authorize(credentials.identification)
  } catch (error) {
    const code = errorCodeOf(error)
    if (!deniedCodes.includes(code)) throw controlPlaneUnreachable(error)
    logger.info({ code, reason: errorReasonOf(error), apiKeyId: publicIdOf(credentials) }, 'a key was not authorized')
    throw new Rejection(403, 'not_authorized', 'the key is not authorized', { cause: error })
  }
}

async function findTarget({ providers }: FrontDoorParts, { providerName }: Mount): Promise<Target | undefined> {
  if (providerName === '') return undefined
  try {
    return await providers.find(providerName)
  } catch (error) {
    throw controlPlaneUnreachable(error)
  }
}
