/** Admission: finds the owner of a request, its provider and its route. */
import type { IncomingMessage } from 'node:http'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { type ErrorCode, errorCodeOf, mayHaveRunOf } from '../../../shared/rpc/errors.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { Guess } from '../../../shared/values/key-guesses.js'
import { hashOf } from '../control-plane/authorization-cache.js'
import { withinDeadline } from '../control-plane/deadline.js'
import type { Target } from '../control-plane/provider-registry.js'
import type { Route } from '../providers/provider-api.js'
import {
  controlPlaneUnreachable,
  loopRejection,
  Rejection,
  type RejectionReason,
  rejectionReasons,
  retryAfterSeconds,
} from '../wire/rejection.js'
import { type Credentials, hasKeyForm, publicIdOf, readCredentials, shownKey } from './credentials.js'
import type { Arrival, Exchange, FrontDoorParts } from './exchange.js'
import { apiPath, type Mount, mayLeaveFolder } from './mount.js'

/**
 * Admits a request: returns its route, and the exchange with owner and target.
 * @throws Rejection in the order of the checks, so that unauthenticated clients learn nothing about providers and
 *   routes
 */
export async function admit(arrival: Arrival): Promise<{ exchange: Exchange; route: Route }> {
  const { parts, request, mount } = arrival
  const credentials = givenCredentials(arrival)
  const { owner, found: target } = known(arrival, credentials) ?? (await findFor(arrival, credentials))
  if (!target) {
    if (mount.providerName === '') throw unknownRoute(request, undefined)
    throw new Rejection(404, 'unknown_provider', `no provider is named ${JSON.stringify(mount.providerName)}`)
  }
  rejectHiddenLoop(parts, credentials, target)
  const path = apiPath(mount.path, target.api.mountPath)
  const route = mayLeaveFolder(mount.path) ? undefined : target.api.route(request.method ?? '', path)
  if (!route) throw unknownRoute(request, target)
  if (!target.provider.enabled) {
    const message = `the provider ${JSON.stringify(mount.providerName)} is disabled`
    throw new Rejection(403, 'provider_disabled', message)
  }
  // The spread comes last: behind one, V8 makes a hidden class for each object (findings/hidden-classes.sh).
  return { exchange: { path: path + mount.query, credentials, owner, target, ...arrival }, route }
}

/**
 * Returns the key of a request.
 * @throws Rejection 401 without one
 */
export function givenCredentials({ request, caller }: Arrival): Credentials {
  const credentials = readCredentials(request.headers, caller)
  if (credentials) return credentials
  const message = 'no key was given: send it as X-Bridge-Token, Authorization: Bearer, X-Api-Key or Api-Key'
  throw new Rejection(401, 'no_key', message)
}

/** The owner of a key, and the thing that was looked for in the owner's name. */
interface Found<T> {
  owner: Authorization
  found: T
}

/** Returns owner and target as they are known at the moment, which nearly all requests find; undefined otherwise. */
function known({ parts, mount }: Arrival, { identification }: Credentials): Found<Target> | undefined {
  const owner = parts.authorizations.known(hashOf(identification))
  const target = parts.providers.known(mount.providerName)
  return owner && target && { owner, found: target }
}

/** Asks the control plane for the owner, and for the provider if it is not known. */
function findFor(arrival: Arrival, credentials: Credentials): Promise<Found<Target | undefined>> {
  return lookUp(arrival, credentials, () => findTarget(arrival.parts, arrival.mount))
}

/**
 * Asks the control plane for the owner of a key, and finds something for the owner, within the deadline of the control
 * plane.
 * @throws Rejection of the key; the error of `find`
 */
export async function lookUp<T>(
  arrival: Arrival,
  credentials: Credentials,
  find: (owner: Authorization) => Promise<T>,
): Promise<Found<T>> {
  const { parts, abort, signal } = arrival
  const hash = hashOf(credentials.identification)
  const guess = await beginGuess(arrival, hash)
  try {
    return await withinDeadline(parts.limits.controlPlaneDeadlineMs, abort, async () => {
      const owner = await abortable(authorize(arrival, credentials, hash), signal)
      guess?.release()
      return { owner, found: await abortable(find(owner), signal) }
    })
  } catch (error) {
    // Outside the deadline of the control plane: a wrong key gets its rejection.
    if (error instanceof Rejection && guesses.has(error.reason)) await guess?.reject(signal)
    else guess?.release()
    throw error
  }
}

/**
 * Rejects a request that a bridge of this control plane has sent, through a proxy that dropped the header which says
 * so: its key is the key of a provider too, and the chain goes on, because its target has a key of this form as well. A
 * client with such a key may use all other providers. Looked at behind the check of the key, so that no client finds
 * the keys of providers by guessing.
 */
function rejectHiddenLoop({ providers }: FrontDoorParts, credentials: Credentials, { provider }: Target): void {
  const key = shownKey(credentials)
  if (key === undefined || !provider.keys.some(hasKeyForm) || !providers.hasKey(key)) return
  throw loopRejection('this request has the key of a provider, which is a key of an aibridge')
}

/** Returns the rejection of a route that is not supported. It names the base URL that clients are to be given. */
function unknownRoute(request: IncomingMessage, target: Target | undefined): Rejection {
  const { method = '', url = '', headers } = request
  // A client influences no response but its own.
  const host = /^[A-Za-z0-9.:[\]-]{1,255}$/.test(headers.host ?? '') ? headers.host : undefined
  const scheme = headers['x-forwarded-proto'] === 'https' ? 'https' : 'http'
  const mounts = `${host === undefined ? '' : `${scheme}://${host}`}/bridge/`
  const base = target
    ? `the base URL of the provider ${JSON.stringify(target.provider.name)}, of type ${target.provider.type}, is ${mounts}${target.provider.name}${target.api.mountPath}`
    : `the base URL of a provider is ${mounts}NAME, and ${mounts}NAME/v1 for the type openai`
  return new Rejection(404, 'unknown_route', `route not supported: ${method} ${url.replace(/\?.*$/s, '')}; ${base}`)
}

/** Codes of errors that reject the key. Any other code leaves the key unknown. */
const deniedCodes: readonly (ErrorCode | undefined)[] = ['UNAUTHORIZED', 'BAD_REQUEST', 'FORBIDDEN']

/** Reasons of keys that are known, and whose owners may not use them: token helpers cannot get a better key. */
const forbidden = new Set<RejectionReason>(['deleted_user', 'inactive_user', 'system_user', 'delegation_not_allowed'])

/** Reasons of keys that may be guesses. */
const guesses = new Set<RejectionReason>(['invalid_key', 'unknown_key', 'not_authorized'])

async function authorize(arrival: Arrival, credentials: Credentials, hash: string): Promise<Authorization> {
  const { parts, address } = arrival
  try {
    return await parts.authorizations.authorize(credentials.identification, hash)
  } catch (error) {
    const code = errorCodeOf(error)
    // Such an error is about the connection or the call itself, and says nothing of the key.
    const hasNoResponse = mayHaveRunOf(error) !== undefined
    if (hasNoResponse || !deniedCodes.includes(code)) throw controlPlaneUnreachable(error)
    const given = errorReasonOf(error)
    const reason = rejectionReasons.find(known => known === given) ?? 'not_authorized'
    const fields = { code, reason: given, apiKeyId: publicIdOf(credentials), address }
    if (parts.rejectionLog.admits(address)) parts.logger.info(fields, 'a key was not authorized')
    const isForbidden = forbidden.has(reason) || (given === undefined && code === 'FORBIDDEN')
    throw new Rejection(isForbidden ? 403 : 401, reason, 'the key is not authorized', { cause: error })
  }
}

/**
 * Begins the lookup of a key that was not good before; undefined for other keys, and for callers in this process.
 * @throws Rejection 429 if the client's address has tried too many keys
 */
async function beginGuess({ parts, signal, address }: Arrival, hash: string): Promise<Guess | undefined> {
  if (address === undefined || parts.authorizations.knows(hash)) return undefined
  const guess = await parts.keyGuesses.begin(address, signal)
  if (guess) return guess
  const message = 'too many keys from this address were wrong, so this one was not looked at; try again later'
  throw new Rejection(429, 'too_many_guesses', message, { retryAfterSeconds })
}

async function findTarget({ providers }: FrontDoorParts, { providerName }: Mount): Promise<Target | undefined> {
  if (providerName === '') return undefined
  try {
    return await providers.find(providerName)
  } catch (error) {
    throw controlPlaneUnreachable(error)
  }
}
