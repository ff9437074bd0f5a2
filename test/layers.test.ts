import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { parseSync } from 'vite'
import { describe, expect, test } from 'vitest'
import { errorReasons } from '../shared/contract/error-reasons.js'
import { transportReasons } from '../shared/rpc/errors.js'

/**
 * The import rules of ARCHITECTURE.md: what a file of `from` may not import, each with the files that are allowed to.
 */
interface Rule {
  name: string
  from: RegExp
  /** paths of ours, or names of packages */
  never: RegExp
  /** files that the rule leaves out */
  except?: RegExp
  /** `import type` is allowed: it is gone when the program runs */
  typesAllowed?: true
}

const joiners = /^server\/(cli\.ts|commands\/|process\/)/
const outside = /^(server|client|test|bench|web)\//

/**
 * Folder → its rooms in the order of their imports: a room imports rooms before it, never a room behind it or beside
 * it.
 */
const rooms: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'shared/': [['values/'], ['rpc/'], ['acp/'], ['contract/'], ['files/'], ['index.ts']],
  'shared/rpc/': [['./'], ['json/'], ['links/']],
  'server/': [
    ['store/', 'rpc/'],
    ['services/', 'acp/'],
    ['routers/', 'metrics/', 'http/', 'config/'],
    ['control-plane/'],
    ['process/'],
    ['commands/'],
    ['index.ts', 'cli.ts'],
  ],
  'server/services/': [['./'], ['tools/', 'prices/'], ['daemon/', 'admin/'], ['chats/'], ['services.ts']],
  'server/store/': [
    ['contract/'],
    ['store.ts'],
    ['sql/', 'migrations/'],
    ['tables/', 'records/', 'chats/'],
    ['sql-store.ts'],
    ['postgres/', 'pglite/'],
    ['open/'],
  ],
  'server/rpc/': [['./'], ['upgrade/']],
  'server/acp/': [
    ['options.ts'],
    ['observer.ts', 'streams/'],
    ['connection/'],
    ['http/', 'port/'],
    ['websocket/'],
    ['serve-acp.ts'],
  ],
  'server/commands/': [['common/'], ['chats/'], ['./']],
  'web/src/': [['navigation/'], ['data/'], ['parts/'], ['views/'], ['app/'], ['main.tsx']],
  'client/rpc/': [['./'], ['browser/']],
  'client/bridge/front-door/': [['body/'], ['./']],
  'client/bridge/outbox/': [['journal/'], ['./']],
  'client/bridge/': [
    ['wire/'],
    ['providers/'],
    ['control-plane/'],
    ['outbox/'],
    ['metrics/'],
    ['recording/'],
    ['relay/'],
    ['upstreams/'],
    ['mcp/'],
    ['injection/'],
    ['front-door/'],
    ['daemon.ts'],
    ['in-process/'],
  ],
}

/**
 * The place of a file among the rooms of a folder, and the name of its room; `./` stands for all other files directly
 * in the folder.
 */
function roomOf(path: string, folder: string): { place: number; room: string } | undefined {
  if (!path.startsWith(folder)) return undefined
  const below = path.slice(folder.length)
  const name = below.includes('/') ? `${below.split('/')[0]}/` : below
  const listed = rooms[folder]?.flat().includes(name)
  const room = listed || name.endsWith('/') ? name : './'
  return { place: rooms[folder]?.findIndex(names => names.includes(room)) ?? -1, room }
}

const oneWay = 'imports go one way through the rooms'

/**
 * The import's way through the rooms of a folder; undefined if it stays in one room, or goes to a room before its own.
 */
function wrongWay(from: string, to: string): string | undefined {
  for (const folder of Object.keys(rooms)) {
    const [here, there] = [roomOf(from, folder), roomOf(to, folder)]
    if (!here || !there || here.room === there.room) continue
    if (here.place < 0 || there.place < 0 || here.place <= there.place) return `${folder}: ${here.room} → ${there.room}`
  }
  return undefined
}

const rules: Rule[] = [
  { name: 'shared imports nothing of ours', from: /^shared\//, never: outside },
  { name: 'client imports only types from server', from: /^client\//, never: /^server\//, typesAllowed: true },
  { name: 'client knows no tests or benchmarks', from: /^(client|server)\//, never: /^(test|bench)\// },
  { name: 'server never imports client', from: /^server\//, never: /^client\//, except: joiners },
  { name: 'the page imports only types from server', from: /^web\//, never: /^server\//, typesAllowed: true },
  {
    name: 'the page comes to the control plane through the client for browsers',
    from: /^web\//,
    never: /^(client\/(?!browser\/index\.ts$)|test\/|bench\/)/,
  },
  {
    name: 'nobody imports the page',
    from: /^(server|client|shared|bench)\//,
    never: /^web\//,
  },
  { name: 'nobody imports cli.ts', from: /./, never: /^server\/cli\.ts$/ },
  {
    name: 'only cli.ts imports commands',
    from: /^(server|client|shared)\//,
    never: /^server\/commands\//,
    except: /^server\/(cli\.ts|commands\/)/,
  },
  { name: 'rpc knows no router, service or store', from: /^server\/rpc\//, never: /^server\/(?!rpc\/)/ },
  {
    name: 'the transport of agents knows no router, no service, no store and no contract',
    from: /^server\/acp\//,
    never: /^(server\/(?!acp\/|rpc\/)|shared\/(?!(acp|rpc|values)\/)|@trpc\/)/,
  },
  { name: 'the client rpc knows nothing above it', from: /^client\/rpc\//, never: /^(server|client\/(?!rpc\/))/ },
  {
    name: 'the transport imports only values/ and rpc/ of shared',
    from: /^(server|client)\/rpc\//,
    never: /^shared\/(?!(values|rpc)\/)/,
  },
  {
    name: 'routers know no rpc and no server',
    from: /^server\/routers\//,
    never: /^server\/(?!routers\/|services\/|store\/)/,
  },
  { name: 'routers reach the store through services', from: /^server\/routers\//, never: /^server\/store\// },
  {
    name: 'services know nothing above them',
    from: /^server\/services\//,
    never: /^server\/(?!services\/|store\/store\.ts$)/,
  },
  { name: 'services and stores know no tRPC', from: /^server\/(services|store)\//, never: /^@trpc\// },
  {
    name: 'no SQL outside the store',
    from: /^(server\/(?!store\/)|client|shared)/,
    never: /^(kysely|pg|@electric-sql\/pglite)(\/|$)/,
  },
  { name: 'a store knows nothing above it', from: /^server\/store\//, never: /^server\/(?!store\/)/ },
  {
    name: 'concrete stores are named in store/open, which index.ts exports, and by cli.ts and commands',
    from: /^server\/(?!store\/)/,
    never: /^server\/store\/(?!store\.ts$)/,
    except: /^server\/(index\.ts|cli\.ts|commands\/|process\/)/,
  },
  {
    name: 'index.ts opens stores through store/open',
    from: /^server\/index\.ts$/,
    never: /^server\/store\/(?!store\.ts$|open\/open-store\.ts$)/,
  },
  { name: 'the bridge knows no chats', from: /^client\/(bridge|agent|rpc)\//, never: /^client\/chats\// },
  {
    name: 'the journal knows no record',
    from: /^client\/bridge\/outbox\/journal\//,
    never: /^(server|client\/(?!bridge\/outbox\/journal\/)|shared\/(rpc|contract))\//,
  },
  {
    name: 'processes of an agent know no link, no router and no bridge',
    from: /^client\/agent\//,
    never: /^(@trpc\/|ws$|server\/|client\/(?!agent\/)|shared\/rpc\/links\/)/,
  },
  {
    name: 'one file per side knows how metrics are counted',
    from: /^(server|client|shared)\//,
    never: /^prom-client$/,
    except: /^(server|client\/bridge)\/metrics\/prometheus\.ts$/,
  },
]

/** Path → source, the paths from the top of the project. */
type Sources = ReadonlyMap<string, string>

interface Import {
  from: string
  /** a path of ours, or the name of a package */
  to: string
  typeOnly: boolean
}

/** Every import that breaks a rule, as `rule: from → to`. */
function violations(imports: readonly Import[]): string[] {
  return imports.flatMap(({ from, to, typeOnly }) => [
    ...rules
      .filter(rule => rule.from.test(from) && rule.never.test(to) && !rule.except?.test(from))
      .filter(rule => !(typeOnly && rule.typesAllowed))
      .map(rule => `${rule.name}: ${from} → ${to}`),
    ...(wrongWay(from, to) === undefined ? [] : [`${oneWay}: ${from} → ${to}`]),
  ])
}

/** The first import cycle that is found from each file, types included, as `a → b → a`. */
function cycles(imports: readonly Import[]): string[] {
  const edges = new Map<string, string[]>()
  for (const { from, to } of imports) edges.set(from, [...(edges.get(from) ?? []), to])
  const found: string[] = []
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path)
    if (start >= 0) found.push([...trail.slice(start), path].join(' → '))
    if (start >= 0 || done.has(path)) return
    for (const to of edges.get(path) ?? []) visit(to, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) visit(path, [])
  return found
}

/** All imports of these files; each file is parsed once. */
function importsOfAll(sources: Sources): Import[] {
  return [...sources].flatMap(([path, source]) => importsOf(path, source))
}

function importsOf(from: string, source: string): Import[] {
  const { module, program, errors } = parseSync(from, source)
  if (errors.length > 0) throw new Error(`${from} cannot be parsed: ${errors[0]?.message}`)
  const imports = program.body.flatMap(node => {
    switch (node.type) {
      case 'ImportDeclaration':
        return [{ specifier: node.source.value, typeOnly: node.importKind === 'type' }]
      case 'ExportAllDeclaration':
      case 'ExportNamedDeclaration':
        return node.source ? [{ specifier: node.source.value, typeOnly: node.exportKind === 'type' }] : []
      default:
        return []
    }
  })
  for (const { moduleRequest } of module.dynamicImports) {
    // A computed specifier names no file here; what it may name has to be imported somewhere else too.
    const text = source.slice(moduleRequest.start, moduleRequest.end)
    if (/^(['"]).*\1$/s.test(text)) imports.push({ specifier: text.slice(1, -1), typeOnly: false })
  }
  return imports.map(({ specifier, typeOnly }) => ({ from, to: resolved(from, specifier), typeOnly }))
}

function resolved(from: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier
  const path = posix.join(posix.dirname(from), specifier)
  const isOfPage = /^web\/.*\.js$/.test(path) && existsSync(path.replace(/js$/, 'tsx'))
  return path.replace(/\.js$/, isOfPage ? '.tsx' : '.ts')
}

/** Entry points that run in a browser too. */
const portableEntries = ['client/browser/index.ts', 'shared/index.ts']

/** Packages that run in a browser. */
const portablePackages = /^(@trpc\/client|@trpc\/server\/observable|superjson|zod)$/

/** Names of Node alone: globals, and what Node's timers have. `background-timer.ts` looks before it calls. */
const nodeNames = new Set(['Buffer', 'process', 'global', 'require', 'setImmediate', 'clearImmediate', 'unref'])

/** The files that an entry point loads when it runs, each with the packages that it imports. */
function valueClosure(entry: string, imports: readonly Import[]): Map<string, string[]> {
  const files = new Map<string, string[]>([[entry, []]])
  for (const [path, packages] of files) {
    for (const { from, to, typeOnly } of imports) {
      if (from !== path || typeOnly) continue
      if (!to.endsWith('.ts')) packages.push(to)
      else if (!files.has(to)) files.set(to, [])
    }
  }
  return files
}

/** Everything in these files that a browser does not have. */
function notPortable(files: ReadonlyMap<string, string[]>, sources: Sources): string[] {
  return [...files].flatMap(([path, packages]) => [
    ...packages.filter(name => !portablePackages.test(name)).map(name => `${path} imports ${name}`),
    ...namesOfNode(path, sources.get(path) ?? '').map(name => `${path} names ${name}`),
  ])
}

function namesOfNode(path: string, source: string): string[] {
  const found = new Set<string>()
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit)
    if (typeof value !== 'object' || value === null) return
    const type = String(Reflect.get(value, 'type'))
    if (type === 'Identifier') {
      const name = String(Reflect.get(value, 'name'))
      if (nodeNames.has(name)) found.add(name)
    }
    for (const [field, child] of Object.entries(value)) {
      const isName = (type === 'MemberExpression' && field === 'property') || (type === 'Property' && field === 'key')
      const owner: unknown = Reflect.get(value, 'object')
      const isGlobal = Reflect.get(Object(owner), 'name') === 'globalThis'
      const isUnref = Reflect.get(Object(child), 'name') === 'unref' && path !== 'shared/rpc/background-timer.ts'
      if (!isName || Reflect.get(value, 'computed') === true || isGlobal || isUnref) visit(child)
    }
  }
  visit(parseSync(path, source).program.body)
  return [...found]
}

function readSources(...folders: string[]): Sources {
  const sources = new Map<string, string>()
  for (const folder of folders) {
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      const path = posix.join(folder, name.replaceAll('\\', '/'))
      if (/(?<!\.d)\.([jt]s|tsx)$/.test(path) && !path.includes('node_modules/'))
        sources.set(path, readFileSync(path, 'utf8'))
    }
  }
  return sources
}

const project = readSources('server', 'client', 'shared', 'test', 'bench', 'web')
const imports = importsOfAll(project)
const found = violations(imports)

test('the sources are found', () => {
  expect([...project.keys()]).toEqual(
    expect.arrayContaining(['server/cli.ts', 'shared/rpc/errors.ts', 'test/layers.test.ts']),
  )
  expect(imports.length).toBeGreaterThan(project.size)
})

test.each(rules)('$name', ({ name }) => {
  expect(found.filter(violation => violation.startsWith(`${name}:`))).toEqual([])
})

test(oneWay, () => {
  expect(found.filter(violation => violation.startsWith(`${oneWay}:`))).toEqual([])
})

test('every file stands in a room, and every room has files', () => {
  for (const [folder, names] of Object.entries(rooms)) {
    const taken = [...project.keys()].flatMap(path => roomOf(path, folder)?.room ?? [])
    expect(new Set(taken), folder).toEqual(new Set(names.flat()))
  }
})

test('no import cycles', () => {
  expect(cycles(imports)).toEqual([])
})

test('a file that does something when it is imported is one of the sideEffects of package.json', () => {
  const manifest: { sideEffects: string[] } = JSON.parse(readFileSync('package.json', 'utf8'))
  const doers = [...project]
    .filter(([path, source]) => /^(server|client|shared)\//.test(path) && doesSomething(path, source))
    .map(([path]) => path.replace(/\.ts$/, '.js'))
  // A CommonJS file is not among the sources that are read.
  const all = [...doers, 'server/process/require-node.cjs'].map(path => `./dist/${path}`)
  expect(all.sort()).toEqual(manifest.sideEffects)
})

/** Whether a file's import runs a statement, beside declarations and imports with names. */
function doesSomething(path: string, source: string): boolean {
  const declares = /^(Import|Export|Variable|Function|Class|TS).*(Declaration|Assignment)$/
  return parseSync(path, source).program.body.some(
    node => !declares.test(node.type) || (node.type === 'ImportDeclaration' && node.specifiers.length === 0),
  )
}

describe('a browser can run an entry point that is made for it', () => {
  test.each(portableEntries)('%s', entry => {
    const files = valueClosure(entry, imports)
    expect(files.size).toBeGreaterThan(10)
    expect(notPortable(files, project)).toEqual([])
  })

  test.each([
    ["import { createServer } from 'node:http'", 'shared/b.ts imports node:http'],
    ["import WebSocket from 'ws'", 'shared/b.ts imports ws'],
    ['export const bytes = (text: string) => Buffer.byteLength(text)', 'shared/b.ts names Buffer'],
    ['setImmediate(() => {})', 'shared/b.ts names setImmediate'],
    ['setTimeout(() => {}).unref()', 'shared/b.ts names unref'],
    ['globalThis.process.exit()', 'shared/b.ts names process'],
  ])('a made-up file behind an import is found: %s', (source, violation) => {
    const sources = new Map([
      ['shared/a.ts', "import type { C } from './c.js'\nexport * from './b.js'"],
      ['shared/b.ts', source],
      ['shared/c.ts', "import 'node:fs'"],
    ])
    const files = valueClosure('shared/a.ts', importsOfAll(sources))
    expect(notPortable(files, sources)).toEqual([violation])
  })

  test('a property, a type and a word of that name are no global', () => {
    const source =
      "export let a: NodeJS.Timeout\nexport const b = { process: 'Buffer' }\n// Buffer\nconsole.log(b.process)"
    expect(notPortable(new Map([['shared/a.ts', []]]), new Map([['shared/a.ts', source]]))).toEqual([])
  })
})

describe('the generic transport knows no word of this service', () => {
  const generic = /^(shared|server|client)\/rpc\//
  const own = Object.keys(errorReasons).filter(reason => !(reason in transportReasons))
  const words = new RegExp(
    `'(${own.join('|')})'|\\b(${own.filter(reason => reason.includes('_')).join('|')})\\b|\\b4001\\b|` +
      'bridge|daemon|interception|recorder|authorizer|provider|control plane|\\badmin\\b|operator|mcp|openai|anthropic',
    'i',
  )

  test.each([...project.keys()].filter(path => generic.test(path)))('%s', path => {
    const lines = project.get(path)?.split('\n') ?? []
    expect(lines.filter(line => words.test(line))).toEqual([])
  })

  test.each(["{ reason: 'expired' }", 'a name_taken error', 'code 4001', 'the bridge’s limits', 'AuthorizerOptions'])(
    'a made-up line is found: %s',
    line => expect(line).toMatch(words),
  )
})

const madeUp = [
  ['shared imports nothing of ours', 'shared/a.ts', "import '../client/index.js'"],
  ['client imports only types from server', 'client/a.ts', "export { b } from '../server/routers/app.js'"],
  ['client imports only types from server', 'client/a.ts', "import { type B } from '../server/routers/app.js'"],
  ['the bridge knows no chats', 'client/bridge/a.ts', "import '../chats/chat-models.js'"],
  ['client knows no tests or benchmarks', 'server/a.ts', "import { links } from '../test/fixtures/links.js'"],
  ['server never imports client', 'server/control-plane/server.ts', "const a = await import('../../client/index.js')"],
  ['the page imports only types from server', 'web/src/data/a.ts', "import { a } from '../../../server/index.js'"],
  [
    'the page comes to the control plane through the client for browsers',
    'web/src/data/a.ts',
    "import { a } from '../../../client/rpc/connection.js'",
  ],
  ['nobody imports the page', 'server/http/a.ts', "import { a } from '../../web/src/data/client.js'"],
  ['nobody imports cli.ts', 'test/a.test.ts', "import '../server/cli.js'"],
  ['only cli.ts imports commands', 'server/control-plane/server.ts', "import { a } from '../commands/users.js'"],
  ['rpc knows no router, service or store', 'server/rpc/a.ts', "import type { AppRouter } from '../routers/app.js'"],
  ['the client rpc knows nothing above it', 'client/rpc/a.ts', "import { a } from '../bridge/daemon.js'"],
  [
    'the transport imports only values/ and rpc/ of shared',
    'server/rpc/upgrade/a.ts',
    "import { apiVersion } from '../../../shared/contract/version.js'",
  ],
  [
    'the transport of agents knows no router, no service, no store and no contract',
    'server/acp/http/a.ts',
    "import { limits } from '../../../shared/contract/limits.js'",
  ],
  ['routers know no rpc and no server', 'server/routers/a.ts', "import { serveDuplex } from '../rpc/connection.js'"],
  ['routers reach the store through services', 'server/routers/a.ts', "import type { Store } from '../store/store.js'"],
  ['services know nothing above them', 'server/services/a.ts', "import { appRouter } from '../routers/app.js'"],
  ['services and stores know no tRPC', 'server/services/a.ts', "import { TRPCError } from '@trpc/server'"],
  ['no SQL outside the store', 'server/services/a.ts', "import { sql } from 'kysely'"],
  ['a store knows nothing above it', 'server/store/a.ts', "import { seal } from '../services/secrets.js'"],
  [
    'concrete stores are named in store/open, which index.ts exports, and by cli.ts and commands',
    'server/control-plane/server.ts',
    "import { a } from '../store/pglite/embedded.js'",
  ],
  ['index.ts opens stores through store/open', 'server/index.ts', "export { a } from './store/postgres/postgres.js'"],
  [
    'the journal knows no record',
    'client/bridge/outbox/journal/a.ts',
    "import type { A } from '../../../../shared/contract/recorder.js'",
  ],
  [
    'processes of an agent know no link, no router and no bridge',
    'client/agent/a.ts',
    "import type { ProcessRouter } from '../../server/routers/process.js'",
  ],
  ['one file per side knows how metrics are counted', 'server/rpc/a.ts', "import { Counter } from 'prom-client'"],
  [oneWay, 'shared/rpc/a.ts', "import { b } from '../contract/b.js'"],
  [oneWay, 'client/bridge/relay/a.ts', "import { b } from '../daemon.js'"],
  [oneWay, 'server/process/a.ts', "import { b } from '../commands/common/options.js'"],
  [oneWay, 'server/services/daemon/a.ts', "import type { B } from '../admin/b.js'"],
  [oneWay, 'web/src/parts/a.tsx', "import { b } from '../views/usage/usage.js'"],
  [oneWay, 'server/store/attic/a.ts', "import { b } from '../store.js'"],
] as const

describe('a made-up violation is found', () => {
  test.each(madeUp)('%s (%s)', (rule, path, source) => {
    expect(violations(importsOf(path, source))).toContainEqual(expect.stringContaining(`${rule}: ${path} → `))
  })

  test('a made-up violation of every rule is found', () => {
    expect(new Set(madeUp.map(([rule]) => rule))).toEqual(new Set([...rules.map(({ name }) => name), oneWay]))
  })

  test('a cycle of three', () => {
    const sources = new Map([
      ['shared/a.ts', "import { b } from './b.js'"],
      ['shared/b.ts', "import type { C } from './c.js'"],
      ['shared/c.ts', "export * from './a.js'"],
    ])
    expect(cycles(importsOfAll(sources))).toEqual(['shared/a.ts → shared/b.ts → shared/c.ts → shared/a.ts'])
  })
})

describe('what the rules allow is no violation', () => {
  test.each([
    ['client/a.ts', "import type { AppRouter } from '../server/routers/app.js'"],
    ['server/commands/serve.ts', "import { createBridgeDaemon } from '../../client/bridge/daemon.js'"],
    ['server/commands/serve.ts', "import { openEmbeddedStore } from '../store/pglite/embedded.js'"],
    ['server/services/a.ts', "import type { Store } from '../store/store.js'"],
    ['server/a.ts', "// import '../client/index.js'\nconst a = \"import '../client/index.js'\""],
  ])('%s: %s', (path, source) => {
    expect(violations(importsOf(path, source))).toEqual([])
  })
})
