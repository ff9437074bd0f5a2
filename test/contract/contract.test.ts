import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseVersion } from '../../shared/rpc/version.js'
import { incompatibilities } from './compatibility.js'
import { type Description, describeContract } from './description.js'

const folder = join(import.meta.dirname, 'versions')
const current = await describeContract()

/**
 * `npm run contract` sets `new` and writes the description of a new version; `again` replaces that of a version which
 * is not released.
 */
const freeze = process.env.FREEZE_CONTRACT
if (freeze === 'again' || (freeze === 'new' && !existsSync(fileOf(current.version)))) {
  writeFileSync(fileOf(current.version), `${JSON.stringify(current, null, 2)}\n`)
}

const frozen = readdirSync(folder)
  .map((name): Description => JSON.parse(readFileSync(join(folder, name), 'utf8')))
  .sort((a, b) => minorOf(a) - minorOf(b))

function fileOf(version: string): string {
  return join(folder, `${version}.json`)
}

function minorOf({ version }: Description): number {
  return parseVersion(version)?.minor ?? Number.NaN
}

const whatToDo =
  'The contract differs from the description of its version. Raise the minor in shared/contract/version.ts, ' +
  'say in its table what the version brings, and add the description with `npm run contract`. ' +
  'A version that no release has yet is described again with `FREEZE_CONTRACT=again npm run contract`.'

test('the contract is the one that its version describes', () => {
  const description = frozen.find(({ version }) => version === current.version)
  expect(description, `${whatToDo} There is no description of ${current.version}.`).toBeDefined()
  expect(current, whatToDo).toEqual(description)
})

test('every minor version up to this one has a description', () => {
  const minors = Array.from({ length: minorOf(current) + 1 }, (_, minor) => minor)
  expect(frozen.map(minorOf)).toEqual(minors)
})

/**
 * Narrower on purpose: a filter of a closed list rejects a value that no row can have, where older servers found
 * nothing. The values of every older version are accepted.
 */
const narrowedOnPurpose = [
  'admin.interceptions.list input errorType accepts listed values only',
  'admin.audit.list input action accepts listed values only',
]

describe('a client of an older version is served', () => {
  test.each(frozen.filter(description => minorOf(description) < minorOf(current)))('$version', older => {
    expect(incompatibilities(older, current).filter(problem => !narrowedOnPurpose.includes(problem))).toEqual([])
  })
})

/** A copy of the contract with one change. */
function changed(change: (contract: Description) => void): Description {
  const copy = structuredClone(current)
  change(copy)
  return copy
}

type Change = [problem: string, change: (contract: Description) => void]

/** The schema at a path of keys; the test fails if there is none. */
function at(contract: Description, ...keys: string[]): Record<string, unknown> {
  const found = keys.reduce<unknown>((node, key) => Reflect.get(Object(node), key), contract.procedures)
  if (typeof found !== 'object' || found === null) throw new Error(`nothing at ${keys.join(' ')}`)
  return found as Record<string, unknown> // checked on the line before
}

describe('a newer version that breaks older clients is found', () => {
  test.each<Change>([
    ['admin.users.list is gone', contract => delete contract.procedures['admin.users.list']],
    [
      'admin.users.list was a query and is a mutation',
      contract => Object.assign(at(contract, 'admin.users.list'), { type: 'mutation' }),
    ],
    [
      'recorder.recordBatch rejects the role daemon',
      contract => Object.assign(at(contract, 'recorder.recordBatch'), { roles: ['admin'] }),
    ],
    ['admin.watch requires an input', contract => Object.assign(at(contract, 'admin.watch'), { inputOptional: false })],
    [
      'admin.users.create input requires email',
      contract => Object.assign(at(contract, 'admin.users.create', 'input'), { required: ['username', 'email'] }),
    ],
    [
      'admin.users.create input username has maxLength 10 and had 64',
      contract =>
        Object.assign(at(contract, 'admin.users.create', 'input', 'properties', 'username'), { maxLength: 10 }),
    ],
    [
      'admin.users.create input username has minLength 3 and had none',
      contract =>
        Object.assign(at(contract, 'admin.users.create', 'input', 'properties', 'username'), { minLength: 3 }),
    ],
    [
      'admin.users.create input username has another pattern',
      contract =>
        Object.assign(at(contract, 'admin.users.create', 'input', 'properties', 'username'), { pattern: '^a$' }),
    ],
    [
      'admin.users.setStatus input status rejects suspended',
      contract =>
        Object.assign(at(contract, 'admin.users.setStatus', 'input', 'properties', 'status'), { enum: ['active'] }),
    ],
    [
      'admin.users.create input drops the field username',
      contract => delete at(contract, 'admin.users.create', 'input', 'properties').username,
    ],
    [
      'admin.mcpServers.upsert input toolAllowRegex rejects null',
      contract =>
        Object.assign(at(contract, 'admin.mcpServers.upsert', 'input', 'properties'), {
          toolAllowRegex: { type: 'string', maxLength: 512 },
        }),
    ],
    [
      'admin.users.list output items has no field username',
      contract => delete at(contract, 'admin.users.list', 'output', 'items', 'properties').username,
    ],
    [
      'admin.users.list output items may lack username',
      contract => Object.assign(at(contract, 'admin.users.list', 'output', 'items'), { required: ['id'] }),
    ],
    [
      'admin.users.list output items username may be of type null',
      contract =>
        Object.assign(at(contract, 'admin.users.list', 'output', 'items', 'properties', 'username'), {
          type: ['string', 'null'],
        }),
    ],
    [
      'admin.watch output has no variant {"kind":"watching"}',
      contract => (at(contract, 'admin.watch', 'output').anyOf as unknown[]).shift(), // the first of its variants
    ],
    ['reasons: draining is gone', contract => contract.reasons.splice(contract.reasons.indexOf('draining'), 1)],
    [
      'error code TIMEOUT changed',
      contract => Object.assign(contract.errorCodes, { TIMEOUT: { number: -32008, status: 504, retry: true } }),
    ],
    ['close code keyRevoked (4001) changed', contract => Object.assign(contract.closeCodes, { keyRevoked: 4002 })],
    ['peer: agents.start is gone', contract => delete contract.peerProcedures?.['agents.start']],
    ['agent: signal is gone', contract => delete contract.agentProcedures?.signal],
    [
      'agent: start input requires cpus',
      contract => Object.assign(Object(contract.agentProcedures?.start?.input), { required: ['cpus'] }),
    ],
    ['record toolUsage is gone', contract => delete contract.records.toolUsage],
  ])('%s', (problem, change) => {
    expect(incompatibilities(current, changed(change))).toContain(problem)
  })
})

describe('a newer version that only adds is compatible', () => {
  test.each<Change>([
    ['a procedure', contract => Object.assign(contract.procedures, { 'admin.new': at(contract, 'admin.watch') })],
    [
      'an optional field of an input',
      contract =>
        Object.assign(at(contract, 'admin.users.create', 'input', 'properties'), { email: { type: 'string' } }),
    ],
    [
      'a field of a response',
      contract =>
        Object.assign(at(contract, 'admin.users.list', 'output', 'items', 'properties'), { email: { type: 'string' } }),
    ],
    [
      'a value of a list',
      contract =>
        Object.assign(at(contract, 'admin.users.setStatus', 'input', 'properties', 'status'), {
          enum: ['active', 'suspended', 'invited'],
        }),
    ],
    [
      'a longer text',
      contract =>
        Object.assign(at(contract, 'admin.users.create', 'input', 'properties', 'username'), { maxLength: 99 }),
    ],
    [
      'a variant of an event',
      contract =>
        (at(contract, 'admin.watch', 'output').anyOf as unknown[]).push({
          type: 'object',
          properties: { kind: { const: 'new' } },
        }), // its variants
    ],
    ['a reason', contract => contract.reasons.push('new_reason')],
  ])('%s', (_addition, change) => {
    expect(incompatibilities(current, changed(change))).toEqual([])
  })
})
