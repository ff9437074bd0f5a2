/** JSON texts of hostile values: any JSON, and superjson's form with annotations that lie. */
import type { Choice } from './choice.js'

const leaves = [
  '0', '-0', '1', '-1', '0.5', '1e308', '1e400', '9007199254740993', 'true', 'false', 'null', '""', '"a"', '"2020-01-01"',
  '"\\u0000"', '"\\ud800"', '"__proto__"', '"PING"', '"1n"', '"12"', '"/a/g"', '"http://x"',
] // biome-ignore format: a list
const keys = [
  'a',
  'b',
  'c',
  '0',
  'id',
  'json',
  'meta',
  'then',
  'toJSON',
  'length',
  '__proto__',
  'constructor',
  'a.b',
  '',
]

/** Any JSON. */
export function jsonText(choice: Choice, depth = 3): string {
  if (depth === 0 || choice.chance(0.5)) return leafText(choice)
  if (choice.chance(0.5)) return `[${choice.list(3, () => jsonText(choice, depth - 1)).join(',')}]`
  return objectText(choice, keys, () => jsonText(choice, depth - 1))
}

function leafText(choice: Choice): string {
  const dice = choice.next()
  if (dice < 0.99) return choice.pick(leaves)
  if (dice < 0.995) return `"${'x'.repeat(choice.below(5_000))}"`
  const levels = choice.pick([10, 900, 1_023, 1_030, 3_000])
  return choice.chance(0.5)
    ? '['.repeat(levels) + ']'.repeat(levels)
    : `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
}

function objectText(choice: Choice, names: readonly string[], item: () => string): string {
  return `{${choice.list(3, () => `${JSON.stringify(choice.pick(names))}:${item()}`).join(',')}}`
}

/** Values with known places, so that many paths lead to one. */
const annotated = [
  '{"a":1,"b":[1,["x",{}],null],"c":{"a":"2020","b":[[1,2]]}}',
  '[[[1,2],"a"],{"a":{}}]',
  '{"a":"9","b":[[1,2],[3,4]]}',
  '"text"',
  'null',
]
const paths = ['a', 'b', 'c', 'b.0', 'b.1', 'b.1.1', 'c.a', 'c.b', 'c.b.0', '0', '0.0', '1.a', '0.0.1', 'b.0.0', '', '\\', 'a.__proto__', 'constructor.prototype.x', 'c.__proto__.x', 'c.constructor.prototype.valueOf', 'b.__proto__.at', 'b.99999999', 'b.length', 'c.b.0.0.0.0'] // biome-ignore format: a list
const types = ['"Date"', '"undefined"', '"number"', '"bigint"', '"set"', '"map"', '"regexp"', '"URL"', '"Error"', '"no"', '["typed-array","Uint8Array"]', '["class","X"]', '["custom","X"]', '["symbol","x"]', '1', 'null'] // biome-ignore format: a list

function treeText(choice: Choice, depth = 2): string {
  const dice = choice.next()
  if (dice < 0.6 || depth === 0) return `[${choice.pick(types)}]`
  const below = objectText(choice, paths, () => treeText(choice, depth - 1))
  if (dice < 0.8) return below
  return dice < 0.95 ? `[${choice.pick(types)},${below}]` : jsonText(choice, 2)
}

function equalitiesText(choice: Choice): string {
  const list = () => `[${choice.list(3, () => JSON.stringify(choice.pick(paths))).join(',')}]`
  const dice = choice.next()
  if (dice < 0.6) return objectText(choice, paths, list)
  if (dice < 0.8) return `[${list()}]`
  return dice < 0.9 ? `[${list()},${objectText(choice, paths, list)}]` : jsonText(choice, 2)
}

/** A value as the transformer writes it, or nearly so. */
export function encodedText(choice: Choice): string {
  const dice = choice.next()
  if (dice < 0.5) return `{"json":${jsonText(choice)}}`
  if (dice < 0.6) return jsonText(choice)
  const fields = [`"v":${choice.pick(['1', '1', '1', '0', '2', '"x"', 'null'])}`]
  if (choice.chance(0.8)) fields.push(`"values":${treeText(choice)}`)
  if (choice.chance(0.4)) fields.push(`"referentialEqualities":${equalitiesText(choice)}`)
  return `{"json":${choice.pick(annotated)},"meta":${choice.chance(0.95) ? `{${fields.join(',')}}` : jsonText(choice, 1)}}`
}

/** An object of some fields, each with a share of the cases in which it is there. */
export function recordText(
  choice: Choice,
  fields: readonly (readonly [name: string, share: number, text: () => string])[],
): string {
  const parts = fields.filter(([, share]) => choice.chance(share)).map(([name, , text]) => `"${name}":${text()}`)
  return `{${parts.join(',')}}`
}

/** One of the usual texts, seldom one of the unusual. */
export function usually(choice: Choice, usual: readonly string[], unusual: readonly string[], share = 0.92): string {
  return choice.pick(choice.chance(share) ? usual : unusual)
}
