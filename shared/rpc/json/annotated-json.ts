/**
 * Decodes superjson's annotated JSON in time and memory that are linear in the message: superjson's own decoder is made
 * for messages of a trusted peer.
 */
import { isPlainObject, setOwn } from '../../values/text.js'
import { copyJsonValue } from './json-copy.js'
import { SharedValues } from './shared-values.js'

/** The annotations of one value, as a peer sends them. */
export interface Annotations {
  readonly values?: unknown
  readonly referentialEqualities?: unknown
  /** absent in messages of superjson before version 2, whose paths escape the dot only */
  readonly v?: unknown
}

/**
 * Returns the value of annotated JSON, which may be made of `json` itself.
 * @throws Error for annotations that no serializer makes, or that stand for more than the message
 */
export function decodeAnnotated(json: unknown, { values, referentialEqualities, v }: Annotations): unknown {
  const isLegacy = !(typeof v === 'number' && v >= 1)
  // In the output of superjson itself, other than in a message, a repeated object stands at several places.
  const root = { json: referentialEqualities ? copyJsonValue(json, Number.POSITIVE_INFINITY) : json }
  if (values) applyTree(root, 'json', values, isLegacy)
  if (referentialEqualities) {
    const shared = new SharedValues(root, path => splitPath(path, isLegacy))
    shared.apply(referentialEqualities)
  }
  return root.json
}

type Container = Record<string, unknown>

/** Applies annotations of the value at `key`: inner values first, as JSON still has them. */
function applyTree(parent: Container, key: string, tree: unknown, isLegacy: boolean): void {
  if (!Array.isArray(tree)) return applyBelow(parent[key], tree, isLegacy)
  const [type, below]: unknown[] = tree
  if (below) applyBelow(parent[key], below, isLegacy)
  setOwn(parent, key, decodeAs(type, parent[key]))
}

function applyBelow(value: unknown, trees: unknown, isLegacy: boolean): void {
  if (!isPlainObject(trees)) throw new Error('superjson: annotations must be an object')
  for (const path of Object.keys(trees)) {
    const keys = splitPath(path, isLegacy)
    const last = keys.pop() ?? ''
    let parent: unknown = value
    for (const key of keys) parent = isPrimitive(parent) ? parent : fieldOf(parent, key, path)
    // The sender's own toJSON has put a primitive in place of an annotated object; superjson ignores that too.
    if (isPrimitive(parent)) continue
    if (!hasField(parent, last)) throw noValue(path)
    applyTree(parent, last, trees[path], isLegacy)
  }
}

/** In JSON: absent values are none. */
function isPrimitive(value: unknown): boolean {
  return value !== undefined && (typeof value !== 'object' || value === null)
}

function fieldOf(parent: unknown, key: string, path: string): unknown {
  if (!hasField(parent, key)) throw noValue(path)
  return parent[key]
}

function decodeAs(type: unknown, json: unknown): unknown {
  if (typeof type === 'string' && Object.hasOwn(decoders, type)) return decoders[type]?.(json)
  // No class, symbol or custom type is registered with this transformer.
  const [kind, name]: unknown[] = Array.isArray(type) ? type : []
  if (kind === 'typed-array') return decodeTypedArray(String(name), json)
  throw new Error('superjson: an unknown type')
}

const decoders: { readonly [type: string]: (json: unknown) => unknown } = {
  undefined: () => undefined,
  number: json => Number(textOf(json, 'number')),
  // An invalid date where the text is none, as with superjson.
  Date: json => new Date(textOf(json, 'Date')),
  bigint: json => decodeBigInt(textOf(json, 'bigint')),
  URL: json => new URL(textOf(json, 'URL')),
  regexp: json => decodePattern(textOf(json, 'regexp')),
  set: json => new Set(itemsOf(json, 'set')),
  map: json => new Map(itemsOf(json, 'map').map(entryOf)),
  Error: decodeError,
}

/** Text or a number: the conversion of an object may take any time. */
function textOf(json: unknown, type: string): string {
  if (typeof json === 'string') return json
  if (typeof json === 'number') return String(json)
  throw notOfType(type)
}

function itemsOf(json: unknown, type: string): readonly unknown[] {
  if (Array.isArray(json)) return json
  throw notOfType(type)
}

function entryOf(item: unknown): [unknown, unknown] {
  const [key, value] = itemsOf(item, 'map')
  return [key, value]
}

/** Four million digits take 0.5 s, this many 0.2 ms. */
const maxDigits = 10_000

function decodeBigInt(text: string): bigint {
  if (text.length > maxDigits) throw new Error(`superjson: a bigint of more than ${maxDigits} digits`)
  return BigInt(text)
}

/** Sets of Unicode properties take 40 µs and 10 KiB for each six characters of a pattern. */
function decodePattern(text: string): RegExp {
  const end = text.lastIndexOf('/')
  const flags = text.slice(end + 1)
  if (/[uv]/.test(flags)) throw new Error('superjson: a regular expression with the flag u or v')
  return new RegExp(text.slice(1, end), flags)
}

function decodeError(json: unknown): Error {
  if (!isPlainObject(json) || (json.message !== undefined && typeof json.message !== 'string')) throw notOfType('Error')
  const error = new Error(json.message, { cause: json.cause })
  // As the peer gave them, like superjson; a stack of this side would show the server's files.
  return Object.assign(error, { name: json.name, stack: json.stack })
}

const typedArrays: { readonly [name: string]: new (items: readonly number[]) => object } = {
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
}

function decodeTypedArray(name: string, json: unknown): object {
  const TypedArray = Object.hasOwn(typedArrays, name) ? typedArrays[name] : undefined
  if (!TypedArray) throw new Error('superjson: an unknown typed array')
  return new TypedArray(itemsOf(json, name).map(item => numberOf(item, name)))
}

/** JSON has null for a number outside JSON. */
function numberOf(item: unknown, type: string): number {
  if (typeof item === 'number' || item === null) return Number(item)
  throw notOfType(type)
}

function notOfType(type: string): Error {
  return new Error(`superjson: a value that is no ${type}`)
}

function noValue(path: string): Error {
  return new Error(`superjson: no value at ${path.slice(0, 100)}`)
}

/** An own field that JSON has; the length of a list is none. */
function hasField(value: unknown, key: string): value is Container {
  return typeof value === 'object' && value !== null && Object.prototype.propertyIsEnumerable.call(value, key)
}

function splitPath(path: string, isLegacy: boolean): string[] {
  if (!path.includes('\\')) return path.split('.')
  const keys: string[] = []
  let key = ''
  for (let index = 0; index < path.length; index++) {
    const char = path[index]
    if (char === '.') {
      keys.push(key)
      key = ''
    } else if (char === '\\' && (path[index + 1] === '.' || !isLegacy)) key += path[++index] ?? ''
    else key += char
  }
  keys.push(key)
  return keys
}
