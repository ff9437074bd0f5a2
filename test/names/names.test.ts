/** The names that leave the process and that users build on. Names of the contract are in test/contract. */
import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import type { Argument, Command, Option } from 'commander'
import pg from 'pg'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createBridgeMetrics } from '../../client/bridge/metrics/prometheus.js'
import { createProgram } from '../../server/commands/command-line.js'
import { flagOf, type Settings } from '../../server/config/setting.js'
import * as declared from '../../server/config/settings.js'
import { createServerMetrics } from '../../server/metrics/prometheus.js'
import { createLogger } from '../../server/process/logger.js'
import { providerTypes } from '../../shared/contract/provider-configurator.js'
import { makeDatabase, openTemporaryStore } from '../fixtures/stores.js'
import { daemon, startServer } from '../server/services/running-server.js'
import { allCommands, outputOfEveryCommand } from './command-output.js'
import { fieldPaths } from './field-paths.js'
import { changesOf, expectFrozen } from './frozen.js'
import { loggedFields, type Source } from './object-fields.js'
import { recordEverything } from './records.js'

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

test('metrics keep their names, labels and types', () => {
  const ofProcess = registered(() => collectDefaultMetrics({ register: new Registry() }))
  const ours = registered(() => {
    createServerMetrics()
    createBridgeMetrics()
  })
  expectFrozen(
    'metrics',
    ours.filter(metric => !ofProcess.includes(metric)),
  )
})

/** Returns all metrics that are registered during the work, as `name type`, and their labels, as `name{label}`. */
function registered(work: () => void): string[] {
  const found: string[] = []
  const spy = vi.spyOn(Registry.prototype, 'registerMetric').mockImplementation((metric: object) => {
    const { name, labelNames = [] }: { name?: unknown; labelNames?: string[] } = metric
    found.push(`${String(name)} ${metric.constructor.name.toLowerCase()}`)
    for (const label of labelNames) found.push(`${String(name)}{${label}}`)
  })
  work()
  spy.mockRestore()
  return found
}

test('columns of the database keep their names and types', async () => {
  const database = await makeDatabase()
  onTestFinished(() => database.drop())
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  onTestFinished(() => client.end())
  const { rows } = await client.query(
    `select table_name || '.' || column_name || ' ' || udt_name || case is_nullable when 'YES' then ' null' else '' end as name
     from information_schema.columns where table_schema = 'public'`,
  )
  expect(rows.length).toBeGreaterThan(50)
  expectFrozen(
    'columns',
    rows.map(({ name }) => name),
  )
})

test('settings keep their names in the file, their flags and their variables', () => {
  const {
    serveSettings,
    daemonSettings,
    agentSettings,
    clientSettings,
    userSettings,
    databaseSettings,
    configSetting,
  } = declared
  const commands: Record<string, Settings> = {
    serve: { config: configSetting, ...serveSettings },
    daemon: { config: configSetting, ...daemonSettings },
    agent: { config: configSetting, ...agentSettings },
    'commands that call a server': clientSettings,
    'commands of users': userSettings,
    'import and migrate': { config: configSetting, ...databaseSettings },
  }
  const settings = Object.entries(commands).flatMap(([command, settings]) =>
    Object.entries(settings).flatMap(([name, { flag, variables }]) => {
      const ways = [...(flag === 'none' ? [] : [flagOf(name, flag)]), ...variables]
      return ways.map(way => `${command}: ${name}, ${way}`)
    }),
  )
  const seeds = providerTypes.flatMap(type => Object.values(declared.seedVariables(type)))
  expectFrozen('settings', [...settings, ...seeds.map(variable => `serve: a provider of a new database, ${variable}`)])
})

test('commands keep their arguments and options', () => {
  const ofCommand = ([path, command]: [string, Command]) => [
    [path, ...command.registeredArguments.map(argumentText)].join(' '),
    ...command.options.flatMap(option => optionTexts(option).map(text => `${path} ${text}`)),
  ]
  expectFrozen('commands', allCommands(createProgram()).flatMap(ofCommand))
})

function argumentText(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`
}

/** Returns the option with the word for its value, and with each of the values if the list is closed. */
function optionTexts({ flags, long, argChoices = [] }: Option): string[] {
  return [flags, ...argChoices.map(value => `${long} ${value}`)]
}

test('the JSON of commands keeps its fields', async () => {
  const { fields, ran } = await outputOfEveryCommand()
  expect(ran.sort()).toEqual(
    allCommands(createProgram())
      .map(([path]) => path)
      .sort(),
  )
  expectFrozen('command-output', fields)
})

describe('fields of log lines keep their names', () => {
  test('as the sources hand them to a logger', () => {
    // `loggedFields` of the record log is read below, by a run. The logger with common fields passes fields on.
    const sources = sourcesOf('server', 'client', 'shared').filter(({ path }) => path !== 'shared/values/log.ts')
    expectFrozen('log-fields', loggedFields(sources, ['loggedFields']))
  })

  test('as the log of records writes them', async () => {
    const store = await openTemporaryStore()
    onTestFinished(() => store.close())
    const { connect, logger } = await startServer(store, { structuredLogging: true })
    await recordEverything(connect(daemon).recorder, 'b3f3bd0e-0c53-4f3e-9a3f-6f1a35a6a9a1')
    const lines = logger.lines.filter(({ message }) => message === 'interception log')
    const typeOf = (fields: object) => String(Reflect.get(fields, 'record_type'))
    expectFrozen(
      'record-log-fields',
      lines.flatMap(({ fields }) => Object.keys(fields).map(name => `${typeOf(fields)}: ${name}`)),
    )
  })

  test('as the log of a process writes them', () => {
    const lines: string[] = []
    const logger = createLogger({ level: 'info', write: line => lines.push(line) })
    const cause = Object.assign(new TypeError('a cause'), { code: 'ERR_CODE' })
    logger.info({ err: new AggregateError([cause], 'an error', { cause }) }, 'a message')
    expectFrozen(
      'process-log-fields',
      lines.flatMap(line => fieldPaths(JSON.parse(line))),
    )
  })

  test.each([
    ["logger.info({ a: 1, 'b': 2, ...(c && { d }) }, 'm')", ['a', 'b', 'd']],
    ["const fields = { a: 1 }; this.#logger.warn({ ...fields, b }, 'm')", ['a', 'b']],
    ["parts.logger.error(describe(e), 'm'); function describe(e: Error) { return e ? { a } : { b } }", ['a', 'b']],
    ["logger?.debug({ a }, 'm'); logger[level]({ b }, 'm')", ['a', 'b']],
    ["withFields(logger, { a }); logger.child({ b }); row.info({ c }, 'm')", ['a']],
  ])('%s logs %j', (text, names) => {
    expect([...loggedFields([{ path: 'a.ts', text }])]).toEqual(names)
  })

  test.each(["logger.info(elsewhere, 'm')", "logger.info({ [name]: 1 }, 'm')", "logger.info({ ...imported() }, 'm')"])(
    '%s is no line whose fields can be read',
    text => {
      expect(() => loggedFields([{ path: 'a.ts', text }])).toThrow(/^a\.ts: .* cannot read/)
    },
  )
})

function sourcesOf(...folders: string[]): Source[] {
  return folders.flatMap(folder =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).flatMap(name => {
      const path = posix.join(folder, name)
      return path.endsWith('.ts') ? [{ path, text: readFileSync(path, 'utf8') }] : []
    }),
  )
}

test.each([
  [['a', 'b'], { added: [], removed: [] }],
  [['a', 'b', 'c'], { added: ['c'], removed: [] }],
  [['a'], { added: [], removed: ['b'] }],
  [['a', 'B'], { added: ['B'], removed: ['b'] }],
])('of the frozen names a and b, %j has the changes %j', (names, changes) => {
  expect(changesOf(['a', 'b'], names)).toEqual(changes)
})
