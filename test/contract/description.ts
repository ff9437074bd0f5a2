/**
 * A description of the contract, made from the code that runs: what one version of it promises to clients of that
 * version.
 */
import { readFileSync } from 'node:fs'
import { getErrorShape, TRPCError } from '@trpc/server'
import { parseSync } from 'vite'
import { z } from 'zod'
import { appRouter } from '../../server/routers/app.js'
import { peerRouter } from '../../server/routers/peer.js'
import { processRouter } from '../../server/routers/process.js'
import { CheckedInput, type Context } from '../../server/routers/trpc.js'
import type { Identity } from '../../server/services/identity.js'
import type { ProcessHost } from '../../shared/contract/agents.js'
import { serviceCloseCodes } from '../../shared/contract/close-codes.js'
import { errorReasons, rpcError } from '../../shared/contract/error-reasons.js'
import { recordSchemas } from '../../shared/contract/recorder.js'
import { apiVersion } from '../../shared/contract/version.js'
import { closeCodes } from '../../shared/rpc/duplex.js'
import { errorCodes, RpcError } from '../../shared/rpc/errors.js'
import { formatVersion } from '../../shared/rpc/version.js'
import { agentOutputs } from './agent-outputs.js'
import { outputs } from './outputs.js'
import { peerOutputs } from './peer-outputs.js'

/** A JSON schema, draft 2020-12, as zod writes it. */
export type Schema = { [keyword: string]: unknown }

export interface ProcedureDescription {
  type: string
  /** the roles that are accepted; none for a procedure of agents or between servers, which have no roles */
  roles: string[]
  /** what a caller may send; null if the procedure reads no input */
  input: Schema | null
  /** the input may be left out */
  inputOptional: boolean
  /** what a caller receives: the response, or one item of a subscription */
  output: Schema
}

export interface Description {
  version: string
  /** of the control plane, by path */
  procedures: Record<string, ProcedureDescription>
  /** of agents, by path; since 1.6 */
  agentProcedures?: Record<string, ProcedureDescription>
  /** of servers for each other, by path; since 1.7 */
  peerProcedures?: Record<string, ProcedureDescription>
  /** one record of a batch, by its `kind` */
  records: Record<string, Schema>
  /** code → its JSON-RPC number, HTTP status, and whether a repeated call may succeed */
  errorCodes: Record<string, { number: number; status: number; retry: boolean }>
  reasons: string[]
  closeCodes: Record<string, number>
  /** dotted paths of the fields of messages; `method=reconnect` stands for a field with a fixed value */
  messageFields: string[]
  /** dotted paths of the fields of `error` in a message */
  errorFields: string[]
}

/** Describes the contract of this code. */
export async function describeContract(): Promise<Description> {
  return {
    version: formatVersion(apiVersion),
    procedures: await describeProcedures(appRouter._def.procedures, async (path, procedure) => ({
      ...describeProcedure(path, procedure, outputs),
      roles: await rolesOf(path, procedure),
    })),
    agentProcedures: await describeProcedures(processRouter(noHost)._def.procedures, async (path, procedure) =>
      describeProcedure(path, procedure, agentOutputs),
    ),
    peerProcedures: await describeProcedures(peerRouter._def.procedures, async (path, procedure) =>
      describeProcedure(path, procedure, peerOutputs),
    ),
    records: sorted(Object.entries(recordSchemas).map(([kind, schema]) => [kind, schemaOf(schema, 'input')])),
    errorCodes: sorted(
      Object.entries(errorCodes).map(([code, { number, status, retry }]) => [code, { number, status, retry }]),
    ),
    reasons: Object.keys(errorReasons).sort(),
    closeCodes: sorted(Object.entries({ ...closeCodes, ...serviceCloseCodes })),
    messageFields: messageFields(),
    errorFields: errorFields(),
  }
}

function sorted<T>(entries: [string, T][]): Record<string, T> {
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The parts of tRPC's `_def` that a description needs; they are internal, and `outputs` is as deep as the router. */
interface ProcedureInternals {
  _def: { type: string; inputs: unknown[]; middlewares: Middleware[] }
}
type Middleware = ((options: object) => Promise<{ ok: boolean; error?: unknown }>) & { _type?: string }

async function describeProcedures(
  procedures: Readonly<Record<string, object>>,
  describe: (path: string, procedure: ProcedureInternals) => Promise<ProcedureDescription>,
): Promise<Record<string, ProcedureDescription>> {
  const described: [string, ProcedureDescription][] = []
  for (const [path, procedure] of Object.entries(procedures)) {
    described.push([path, await describe(path, procedure as ProcedureInternals)]) // a procedure of tRPC
  }
  return sorted(described)
}

/** Describes a procedure that any peer may call. */
function describeProcedure(path: string, procedure: ProcedureInternals, outputs: object): ProcedureDescription {
  const { type, inputs } = procedure._def
  const [input, ...more] = inputs
  if (more.length > 0) throw new Error(`${path} has several inputs; describe them as one schema`)
  if (input !== undefined && !(input instanceof CheckedInput)) throw new Error(`${path} has an input without checked()`)
  const schema = input?.schema
  return {
    type,
    roles: [],
    input: schema ? schemaOf(schema, 'input') : null,
    inputOptional: schema ? schema.safeParse(undefined).success : true,
    output: schemaOf(outputOf(path, outputs), 'output'),
  }
}

/** A host that is never called. */
const noHost = {} as ProcessHost

const identities: readonly Identity[] = [
  { role: 'admin', name: 'somebody' },
  { role: 'daemon', name: 'something', delegate: true },
]

/**
 * The roles that a procedure accepts: its middlewares run without the check of the input, up to the first use of a
 * service.
 */
async function rolesOf(path: string, procedure: ProcedureInternals): Promise<string[]> {
  const list = procedure._def.middlewares.filter(({ _type }) => _type !== 'input')
  const roles: string[] = []
  for (const identity of identities) {
    const code = await errorCodeOf(list, { path, ctx: { identity, services: unusable }, input: {} })
    if (code !== 'FORBIDDEN') roles.push(identity.role)
  }
  return roles
}

/** Services that fail at the first use. */
const unusable = new Proxy({} as Context['services'], {
  // no member is ever read
  get() {
    throw new RpcError('INTERNAL_SERVER_ERROR', 'the procedure accepts the role')
  },
})

/** The code of the error that the middlewares end with; undefined if they end without one. */
async function errorCodeOf(list: readonly Middleware[], options: object): Promise<string | undefined> {
  const run = async (index: number, given: object): Promise<unknown> =>
    list[index]?.({ ...given, next: (changed?: object) => run(index + 1, { ...given, ...changed }) })
  try {
    const result = await run(0, options)
    return RpcError.from(Reflect.get(Object(result), 'error')).code
  } catch (error) {
    return RpcError.from(error).code
  }
}

function outputOf(path: string, outputs: object): z.ZodType {
  const output = path.split('.').reduce<unknown>((tree, name) => Reflect.get(Object(tree), name), outputs)
  if (output instanceof z.ZodType) return output
  throw new Error(`${path} has no output in test/contract/outputs.ts, agent-outputs.ts or peer-outputs.ts`)
}

/** The schema as JSON; a date is text with a time, a value that is checked by a function alone is anything. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Schema {
  const { $schema: _draft, ...described } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema }) {
      if (zodSchema._zod.def.type === 'date') Object.assign(jsonSchema, { type: 'string', format: 'date-time' })
    },
  })
  return JSON.parse(JSON.stringify(described))
}

/** The fields and fixed values of the message types, read from their file: no single run sends every one of them. */
function messageFields(): string[] {
  const file = 'shared/rpc/messages.ts'
  const { program } = parseSync(file, readFileSync(file, 'utf8'))
  const declarations = new Map<string, object>()
  for (const node of program.body) {
    const declaration = node.type === 'ExportNamedDeclaration' ? node.declaration : node
    if (declaration?.type === 'TSInterfaceDeclaration' || declaration?.type === 'TSTypeAliasDeclaration') {
      declarations.set(declaration.id.name, declaration)
    }
  }
  const found = new Set<string>()
  for (const name of ['ClientMessage', 'ServerMessage', 'ConnectionParamsMessage']) {
    const declaration = declarations.get(name)
    if (!declaration) throw new Error(`${file} has no type ${name}`)
    collectFields(declaration, '', declarations, found)
  }
  return [...found].sort()
}

/** A node of the syntax tree, as far as fields need it. */
interface TypeNode {
  type?: string
  key?: { name?: string }
  literal?: { value?: unknown }
  typeName?: { name?: string }
}

/** Adds the fields below a node, `path` being the field that the node describes. */
function collectFields(
  value: unknown,
  path: string,
  declarations: ReadonlyMap<string, object>,
  found: Set<string>,
): void {
  if (typeof value !== 'object' || value === null) return
  const { type, key, literal, typeName }: TypeNode = value
  let below = path
  if (type === 'TSPropertySignature' && key?.name !== undefined) {
    below = path === '' ? key.name : `${path}.${key.name}`
    found.add(below)
  } else if (type === 'TSLiteralType' && typeof literal?.value === 'string') found.add(`${path}=${literal.value}`)
  else if (type === 'TSTypeReference') collectFields(declarations.get(typeName?.name ?? ''), path, declarations, found)
  for (const member of Object.values(value)) collectFields(member, below, declarations, found)
}

/** The fields that the router's error formatter writes for an error that has everything. */
function errorFields(): string[] {
  const cause = rpcError('content_differs', 'a message', { mayHaveRun: false })
  const shape = getErrorShape({
    config: appRouter._def._config,
    error: new TRPCError({ code: 'CONFLICT', cause }),
    type: 'mutation',
    path: 'recorder.recordInterception',
    input: undefined,
    ctx: { identity: { role: 'admin', name: 'somebody' }, services: unusable, requestId: 'r1' },
  })
  return pathsOf(shape, '').sort()
}

function pathsOf(value: object, prefix: string): string[] {
  return Object.entries(value).flatMap(([name, member]) => [
    `${prefix}${name}`,
    ...(typeof member === 'object' && member !== null ? pathsOf(member, `${prefix}${name}.`) : []),
  ])
}
