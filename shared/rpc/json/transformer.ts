/**
 * superjson on the wire. Plain JSON, Date, undefined, bigint and numbers outside JSON take a fast path with the same
 * output; superjson itself encodes everything else (Map, Set, Error, class instances, repeated objects, …).
 *
 * superjson throws on the keys `constructor`, `prototype` and `__proto__`. The fast path carries such keys as own
 * properties: AI tool schemas have them, and no code here follows a prototype.
 */
import { SuperJSON } from 'superjson'
import { setOwn } from '../../values/text.js'
import { decodeAnnotated } from './annotated-json.js'
import { OwnedJson } from './owned-json.js'

/** superjson's output: JSON, and the types of the values outside JSON. */
export interface Encoded {
  json: unknown
  meta?: { values?: unknown; referentialEqualities?: unknown; v?: number }
}

/** A separate instance: classes that an application registers with the default instance do not change this wire. */
const superjson = new SuperJSON()

/** A tRPC data transformer; stock peers use superjson. */
export const transformer = {
  serialize(value: unknown): Encoded {
    const { json, meta } = serializeOwned(value)
    return meta ? { json, meta } : { json }
  },
  /**
   * Decodes a value, and may reuse `encoded`: no other code may hold it (a message's value belongs to its receiver).
   * @throws Error for a value that no serializer made
   */
  deserialize(encoded: unknown): unknown {
    // A stock client sends no `input` for a call without input.
    if (encoded === undefined) return undefined
    if (typeof encoded !== 'object' || encoded === null)
      throw new Error('not a superjson value: it must be an object with json')
    const { json, meta } = encoded as Encoded // an object, checked above; each field is checked where it is used
    return meta === undefined || meta === null ? json : decodeAnnotated(json, meta)
  },
}

/**
 * Encodes a value for one message with a transformer. The result of this project's own is an {@link OwnedJson} where
 * possible: the caller must not hold on to its `json`.
 */
export function serializeForMessage(given: { serialize(value: unknown): unknown }, value: unknown): unknown {
  return given === transformer ? serializeOwned(value) : given.serialize(value)
}

function serializeOwned(value: unknown): OwnedJson | Encoded {
  return serializePlain(value) ?? (superjson.serialize(value) as Encoded) // superjson's own type, without its generics
}

/** Thrown inside the walk to hand the whole value to superjson. */
const leaveToSuperjson = Symbol('superjson')

type Annotations = Record<string, [string]>
interface Walk {
  values: Annotations | undefined
  /** objects met so far: superjson annotates repeated objects */
  readonly seen: unknown[]
  /** The size of the output, counted as `copyJson` counts. */
  bytes: number
  containers: number
  levels: number
  /** levels above the value that is encoded now */
  depth: number
}

/** Returns undefined for a value that superjson must encode. */
function serializePlain(value: unknown): OwnedJson | undefined {
  const walk: Walk = { values: undefined, seen: [], bytes: 0, containers: 0, levels: 0, depth: 0 }
  try {
    const json = encode(value, '', undefined, walk)
    if (!walk.values) return new OwnedJson(json, undefined, walk)
    const rootType = Object.hasOwn(walk.values, '') ? walk.values[''] : undefined
    const isRoot = typeof value !== 'object' || value instanceof Date
    return new OwnedJson(json, { values: isRoot ? rootType : walk.values, v: 1 }, walk)
  } catch (thrown) {
    if (thrown === leaveToSuperjson || thrown instanceof RangeError) return undefined
    throw thrown
  }
}

/** `parent` and `key` name the place; the path is put together only for an annotation. */
function encode(value: unknown, key: string, parent: Place | undefined, walk: Walk): unknown {
  switch (typeof value) {
    case 'string':
      walk.bytes += value.length + 2
      return value
    case 'boolean':
      walk.bytes += 5
      return value
    case 'number':
      if (Number.isFinite(value) && (value !== 0 || 1 / value > 0)) {
        walk.bytes += 8
        return value
      }
      // superjson does not treat NaN as a primitive: two NaN count as the same object.
      if (Number.isNaN(value)) remember(value, walk)
      annotate(key, parent, 'number', walk)
      return asText(Object.is(value, -0) ? '-0' : String(value), walk)
    case 'undefined':
      annotate(key, parent, 'undefined', walk)
      walk.bytes += 4
      return null
    case 'bigint':
      remember(value, walk)
      annotate(key, parent, 'bigint', walk)
      return asText(value.toString(), walk)
    case 'object':
      if (value !== null) return encodeObject(value, key, parent, walk)
      walk.bytes += 4
      return null
    default:
      throw leaveToSuperjson
  }
}

function asText(text: string, walk: Walk): string {
  walk.bytes += text.length + 2
  return text
}

interface Place {
  key: string
  parent: Place | undefined
}

function encodeObject(value: object, key: string, parent: Place | undefined, walk: Walk): unknown {
  remember(value, walk)
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain = prototype === Object.prototype || prototype === null
  if (isPlain || Array.isArray(value)) {
    walk.containers++
    if (++walk.depth > walk.levels) walk.levels = walk.depth
    const json = isPlain
      ? encodeFields(value as Record<string, unknown>, key, parent, walk) // checked above
      : encodeItems(value as unknown[], key, parent, walk) // checked above
    walk.depth--
    return json
  }
  if (prototype === Date.prototype && value instanceof Date && !Number.isNaN(value.getTime())) {
    annotate(key, parent, 'Date', walk)
    return asText(value.toISOString(), walk)
  }
  throw leaveToSuperjson
}

function encodeFields(source: Record<string, unknown>, key: string, parent: Place | undefined, walk: Walk): unknown {
  const json: Record<string, unknown> = {}
  let place: Place | undefined
  walk.bytes += 2
  // Two thirds of the time of Object.keys(), and no list.
  for (const field in source) {
    if (!Object.hasOwn(source, field)) continue
    const value = source[field]
    walk.bytes += field.length + 4
    if (typeof value === 'string') setOwn(json, field, asText(value, walk))
    else {
      place ??= { key, parent }
      setOwn(json, field, encode(value, field, place, walk))
    }
  }
  return json
}

function encodeItems(source: unknown[], key: string, parent: Place | undefined, walk: Walk): unknown {
  const json = new Array<unknown>(source.length)
  const place: Place = { key, parent }
  walk.bytes += 2 + source.length
  for (let index = 0; index < source.length; index++) {
    const item = source[index]
    if (item === undefined && !(index in source)) throw leaveToSuperjson
    json[index] = encode(item, String(index), place, walk)
  }
  return json
}

function remember(value: unknown, walk: Walk): void {
  // Linear up to a few dozen objects, the size of usual messages; a list of rows turns to superjson's own map.
  if (walk.seen.length < 64 ? walk.seen.includes(value) : hasInSet(walk, value)) throw leaveToSuperjson
  walk.seen.push(value)
}

const seenSets = new WeakMap<Walk, Set<unknown>>()

function hasInSet(walk: Walk, value: unknown): boolean {
  let set = seenSets.get(walk)
  if (!set) {
    set = new Set(walk.seen)
    seenSets.set(walk, set)
  }
  const known = set.has(value)
  set.add(value)
  return known
}

function annotate(key: string, parent: Place | undefined, type: string, walk: Walk): void {
  walk.values ??= {}
  // The root's own key is '' and is not part of a path; a field named '' is.
  let path = escapeKey(key)
  for (let place = parent; place?.parent; place = place.parent) path = `${escapeKey(place.key)}.${path}`
  setOwn(walk.values, path, [type])
}

function escapeKey(key: string): string {
  return key.includes('\\') || key.includes('.') ? key.replaceAll('\\', '\\\\').replaceAll('.', '\\.') : key
}
