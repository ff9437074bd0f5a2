/** What a server of a newer minor version must still do for clients of an older one. */
import type { Description, Schema } from './description.js'

/**
 * Returns what a client of the older version would miss, one sentence each; empty if the newer version is compatible.
 * - A procedure keeps its path, its type and its roles.
 * - An input that the older version accepts is accepted: no field is required that was not, no limit is narrower, no
 *   value of a list is gone.
 * - A response keeps its fields and their types. A list of names in a response may grow: clients pass unknown names on.
 */
export function incompatibilities(older: Description, newer: Description): string[] {
  const problems = [
    ...missingProcedures(older.procedures, newer.procedures, ''),
    ...missingProcedures(older.agentProcedures ?? {}, newer.agentProcedures ?? {}, 'agent: '),
    ...missingProcedures(older.peerProcedures ?? {}, newer.peerProcedures ?? {}, 'peer: '),
  ]
  for (const [kind, was] of Object.entries(older.records)) {
    const is = newer.records[kind]
    problems.push(...(is ? narrowed(was, is, `record ${kind}`) : [`record ${kind} is gone`]))
  }
  for (const [code, was] of Object.entries(older.errorCodes)) {
    if (JSON.stringify(was) !== JSON.stringify(newer.errorCodes[code])) problems.push(`error code ${code} changed`)
  }
  for (const [name, code] of Object.entries(older.closeCodes)) {
    if (newer.closeCodes[name] !== code) problems.push(`close code ${name} (${code}) changed`)
  }
  for (const list of ['reasons', 'messageFields', 'errorFields'] as const) {
    for (const name of older[list].filter(name => !newer[list].includes(name)))
      problems.push(`${list}: ${name} is gone`)
  }
  return problems
}

/** Returns what a caller of the older procedures would miss. */
function missingProcedures(older: Procedures, newer: Procedures, where: string): string[] {
  const problems: string[] = []
  for (const [name, was] of Object.entries(older)) {
    const path = `${where}${name}`
    const is = newer[name]
    if (!is) {
      problems.push(`${path} is gone`)
      continue
    }
    if (is.type !== was.type) problems.push(`${path} was a ${was.type} and is a ${is.type}`)
    for (const role of was.roles.filter(role => !is.roles.includes(role)))
      problems.push(`${path} rejects the role ${role}`)
    if (was.inputOptional && !is.inputOptional) problems.push(`${path} requires an input`)
    if (was.input && is.input) problems.push(...narrowed(was.input, is.input, `${path} input`))
    problems.push(...lost(was.output, is.output, `${path} output`))
  }
  return problems
}

type Procedures = Description['procedures']

/** Returns why the newer schema rejects a value that the older one accepts. */
function narrowed(older: Schema, newer: Schema, at: string): string[] {
  const accepted = variants(newer)
  return variants(older).flatMap(was => {
    const reasons = accepted.map(is => rejections(was, is, at))
    if (reasons.some(list => list.length === 0)) return []
    const sameType = accepted.findIndex(is => is.type === was.type)
    return reasons[sameType] ?? [`${at} rejects ${String(was.type)}`]
  })
}

const upperLimits = ['maxLength', 'maximum', 'maxItems', 'exclusiveMaximum']
const lowerLimits = ['minLength', 'minimum', 'minItems', 'exclusiveMinimum']
const exactRules = ['pattern', 'format', 'multipleOf', 'propertyNames', 'uniqueItems']

function rejections(was: Schema, is: Schema, at: string): string[] {
  if (Object.keys(is).length === 0) return []
  if (is.type !== was.type && !(is.type === 'number' && was.type === 'integer')) {
    return [`${at} was of type ${String(was.type)} and is of type ${String(is.type)}`]
  }
  const problems: string[] = []
  const limit = (keyword: string, isNarrower: (was: number, is: number) => boolean) => {
    const [before, now] = [was[keyword], is[keyword]]
    if (typeof now === 'number' && (typeof before !== 'number' || isNarrower(before, now))) {
      problems.push(`${at} has ${keyword} ${now} and had ${String(before ?? 'none')}`)
    }
  }
  for (const keyword of upperLimits) limit(keyword, (before, now) => now < before)
  for (const keyword of lowerLimits) limit(keyword, (before, now) => now > before)
  for (const keyword of exactRules) {
    if (is[keyword] !== undefined && JSON.stringify(is[keyword]) !== JSON.stringify(was[keyword])) {
      problems.push(`${at} has another ${keyword}`)
    }
  }
  const [before, now] = [valuesOf(was), valuesOf(is)]
  if (now && !before) problems.push(`${at} accepts listed values only`)
  for (const value of before ?? []) if (now && !now.includes(value)) problems.push(`${at} rejects ${String(value)}`)
  problems.push(
    ...requiredOf(is)
      .filter(name => !requiredOf(was).includes(name))
      .map(name => `${at} requires ${name}`),
  )
  for (const [name, field] of Object.entries(propertiesOf(was))) {
    const same = propertiesOf(is)[name]
    problems.push(...(same ? narrowed(field, same, `${at} ${name}`) : [`${at} drops the field ${name}`]))
  }
  for (const keyword of ['items', 'additionalProperties']) {
    const inner = is[keyword]
    if (isSchema(inner)) problems.push(...narrowed(schemaAt(was, keyword), inner, `${at} ${keyword}`))
  }
  return problems
}

/** Returns what a reader of the older response misses in the newer one. */
function lost(older: Schema, newer: Schema, at: string): string[] {
  const known = variants(older)
  const made = variants(newer)
  const problems = known
    .filter(was => tagOf(was) !== '' && !made.some(is => tagOf(is) === tagOf(was)))
    .map(was => `${at} has no variant ${tagOf(was)}`)
  for (const is of made) {
    const was = known.find(one => one.type === is.type && tagOf(one) === tagOf(is))
    if (was) problems.push(...lostFields(was, is, at))
    else if (tagOf(is) === '' && !known.some(one => Object.keys(one).length === 0)) {
      problems.push(`${at} may be of type ${String(is.type)}`)
    }
  }
  return problems
}

function lostFields(was: Schema, is: Schema, at: string): string[] {
  const problems: string[] = []
  for (const [name, field] of Object.entries(propertiesOf(was))) {
    const same = propertiesOf(is)[name]
    if (!same) problems.push(`${at} has no field ${name}`)
    else if (requiredOf(was).includes(name) && !requiredOf(is).includes(name)) problems.push(`${at} may lack ${name}`)
    else problems.push(...lost(field, same, `${at} ${name}`))
  }
  if (valuesOf(is) === undefined && valuesOf(was) !== undefined) problems.push(`${at} has values of no list`)
  if (was.format !== is.format) problems.push(`${at} has another format`)
  for (const keyword of ['items', 'additionalProperties']) {
    if (isSchema(was[keyword])) problems.push(...lost(was[keyword], schemaAt(is, keyword), `${at} ${keyword}`))
  }
  return problems
}

/** The alternatives of a schema, one for each type. */
function variants(schema: Schema): Schema[] {
  if (Array.isArray(schema.anyOf)) return schema.anyOf.filter(isSchema).flatMap(variants)
  if (Array.isArray(schema.type)) return schema.type.map((type: unknown) => ({ ...schema, type }))
  return [schema]
}

/**
 * The fixed fields by which an object differs from its alternatives, for instance `{"kind":"watching"}`; empty if there
 * are none.
 */
function tagOf(schema: Schema): string {
  const fixed = Object.entries(propertiesOf(schema)).filter(([, field]) => field.const !== undefined)
  return fixed.length === 0 ? '' : JSON.stringify(Object.fromEntries(fixed.map(([name, field]) => [name, field.const])))
}

function valuesOf(schema: Schema): unknown[] | undefined {
  if (schema.const !== undefined) return [schema.const]
  return Array.isArray(schema.enum) ? schema.enum : undefined
}

function requiredOf(schema: Schema): string[] {
  return Array.isArray(schema.required) ? schema.required : []
}

function propertiesOf(schema: Schema): Record<string, Schema> {
  return isSchema(schema.properties) ? (schema.properties as Record<string, Schema>) : {} // by JSON Schema's definition
}

function schemaAt(schema: Schema, keyword: string): Schema {
  const value = schema[keyword]
  return isSchema(value) ? value : {}
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
