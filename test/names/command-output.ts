/** The fields that commands print with `--json`, by a run of every command. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { Command } from 'commander'
import { expect, onTestFinished, vi } from 'vitest'
import { agentDial } from '../../client/agent-dial.js'
import { processRouter } from '../../server/routers/process.js'
import { serveDial } from '../../server/rpc/serve-dial.js'
import { createRunChanges } from '../../server/services/chats/run-changes.js'
import type { Store } from '../../server/store/store.js'
import type { ProcessHost } from '../../shared/contract/agents.js'
import { fillOutbox } from '../client/bridge/outbox/outbox-folder.js'
import { makeDataDir, makeEmptyDir } from '../fixtures/data-dir.js'
import { startOldMcpServer } from '../fixtures/mcp/mcp-servers.js'
import { makeDatabase, openTemporaryStore } from '../fixtures/stores.js'
import { runWords } from '../server/commands/command-line.js'
import { adminToken, daemon, startServer } from '../server/services/running-server.js'
import { fieldPaths } from './field-paths.js'
import { printedFields } from './object-fields.js'
import { recordEverything } from './records.js'

/** Returns all commands without commands below, each with its path, for instance `users create`. */
export function allCommands(command: Command, path = ''): [path: string, command: Command][] {
  if (command.commands.length === 0) return [[path, command]]
  return command.commands.flatMap(below => allCommands(below, path === '' ? below.name() : `${path} ${below.name()}`))
}

/** The fields of every command's output. */
export interface CommandFields {
  /** as `command: field`; a field below another has a dotted path, and `[]` stands for the items of a list */
  fields: string[]
  /** the commands whose output was read */
  ran: string[]
}

/** Runs every command against a server with one row of everything. */
export async function outputOfEveryCommand(): Promise<CommandFields> {
  const store = await openTemporaryStore()
  onTestFinished(() => store.close())
  const { server, connect } = await startServer(store)
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  vi.stubEnv('BRIDGE_URL', url)
  vi.stubEnv('A_SECRET', 'a-secret-of-the-tests')
  const found = new Map<string, string[]>()
  const add = (command: string, fields: Iterable<string>) => {
    found.set(command, [...(found.get(command) ?? []), ...fields])
  }

  /** Runs a command, whose name is all words before the first argument, and returns its output. */
  const run = async (command: string, ...words: string[]) => {
    const { code, stdout, stderr } = await runWords([...command.split(' '), ...words, '--json'])
    expect({ command, code, stderr: code === 0 ? '' : stderr }).toEqual({ command, code: 0, stderr: '' })
    const output: unknown = JSON.parse(stdout)
    add(command, fieldPaths(output))
    return output
  }

  const user = await run('users create', 'ada')
  const key = await run('keys create', '--user', 'ada', '--name', 'laptop', '--expires', '1d')
  const daemonKey = await run('daemon-keys create', '--name', 'remote')
  const wiki = await startOldMcpServer()
  onTestFinished(() => wiki.close())
  await run('mcp add', 'wiki', '--url', wiki.url)
  await run('mcp link', 'wiki', '--user', 'ada', '--access-token-env', 'A_SECRET')
  const watched = await tail(() => recordEverything(connect(daemon).recorder, textOf(user, 'id')))
  for (const line of watched) add('interceptions tail', fieldPaths(line))
  const [{ record } = { record: undefined }] = watched.filter(({ kind }) => kind === 'interception')

  const agent = await run('agents create', '--name', 'builder', '--user', 'ada')
  const agentService = serveScriptedAgent(url, textOf(agent, 'key'))
  await run('agents run', 'builder', 'true')
  await run('agents processes', 'builder')
  await run('agents output', 'builder', 'p')
  for (const name of ['users', 'keys', 'daemon-keys', 'agents', 'providers', 'mcp', 'interceptions', 'audit']) {
    await run(`${name} list`)
  }
  vi.stubEnv('AIBRIDGE_KEY', textOf(key, 'key'))
  const chatId = textOf(await run('chats new', '--title', 'first'), 'id')
  await run('chats send', chatId, 'hello', '--no-watch')
  await run('chats interrupt', chatId)
  await endTurns(store, chatId)
  const { stdout: events } = await runWords(['chats', 'watch', chatId, '--json'])
  for (const line of events.trim().split('\n')) add('chats watch', fieldPaths(JSON.parse(line)))
  await run('chats show', chatId)
  await run('chats list')
  await run('mcp links')
  await run('mcp test', 'wiki', '--user', 'ada')
  await run('interceptions show', textOf(record, 'id'))
  await run('usage', '--by', 'user,key,provider,model,client,day')
  await run('prices set', 'claude', '--input', '1', '--output', '2', '--cache-write-1h', '3', '--tier', '9:input=4')
  await run('prices list')
  await run('prices explain', 'claude')
  await run('prices backfill')
  await run('prices remove', 'claude')
  await run('users suspend', 'ada')
  await run('users activate', 'ada')
  await run('keys revoke', textOf(key, 'id'))
  await run('daemon-keys revoke', textOf(daemonKey, 'id'))
  await run('agents revoke', 'builder')
  await agentService.close({ graceMs: 0 })
  await run('providers add', 'work', '--key-env', 'A_SECRET')
  await run('providers test', 'demo')
  const { keyDetails } = Object((await run('providers keys add', 'work', '--key-env', 'A_SECRET')) ?? {})
  await run('providers keys list', 'work')
  await run('providers keys order', 'work', textOf(keyDetails[0], 'id'))
  await run('providers keys remove', 'work', textOf(keyDetails[0], 'id'))
  await run('providers disable', 'work')
  await run('providers enable', 'work')
  await run('providers remove', 'work')
  await run('mcp unlink', 'wiki', '--user', 'ada')
  await run('mcp remove', 'wiki')
  await run('secrets rotate')
  await run('users delete', 'ada', '--yes')
  await outboxThatIsAway(store)
  await run('purge', '--user', textOf(user, 'id'), '--yes')

  const dataDir = await makeDataDir()
  onTestFinished(() => rm(dataDir, { recursive: true }))
  await run('config check serve', '--data', dataDir)
  vi.stubEnv('BRIDGE_DAEMON_KEY', textOf(daemonKey, 'key'))
  await run('config check daemon')
  const database = await makeDatabase({ migrated: false })
  onTestFinished(() => database.drop())
  await run('migrate', '--database-url', database.url)
  await run('import', '--from', dataDir, '--database-url', database.url)

  const outbox = await makeEmptyDir('outbox')
  await (await fillOutbox(outbox)).close({ timeoutMs: 0 })
  await run('outbox status', '--outbox', outbox)
  await run('outbox dead-letters', '--outbox', outbox)
  await run('outbox retry', '--outbox', outbox)

  // These run until a signal. Their output is one literal each.
  for (const command of ['serve', 'daemon', 'agent']) {
    const path = `server/process/run-${command === 'serve' ? 'server' : command}.ts`
    add(command, printedFields([{ path, text: readFileSync(path, 'utf8') }]))
  }
  const acpServe = 'server/process/acp/run-acp-serve.ts'
  add('acp serve', printedFields([{ path: acpServe, text: readFileSync(acpServe, 'utf8') }]))
  // Its output is the agent's.
  add('acp connect', [])
  const ran = [...found.keys()]
  const failed = await runWords(['users', 'suspend', randomUUID(), '--json'])
  add('a failure', fieldPaths(JSON.parse(failed.stderr)))
  const fields = [...found].flatMap(([command, names]) => names.map(name => `${command}: ${name}`))
  return { fields, ran }
}

/** An agent with one ended process, whose output was cut. */
function serveScriptedAgent(url: string, key: string) {
  const instance = randomUUID()
  const ended = { running: false, exitCode: 0, signal: 'SIGTERM', durationMs: 1 }
  const truncated = { originalBytes: 2, retainedBytes: 1, omittedBytes: 1, cutLines: 0 }
  const listed = { id: 'p', scope: 's', command: 'true', dir: '/', background: false, startedAt: new Date() }
  const unused = () => Promise.reject(new Error('not scripted'))
  const host: ProcessHost = {
    info: unused,
    start: async ({ id }) => ({ id, attached: false }),
    output: async () => ({ ...ended, output: 'x', truncated }),
    list: async () => ({ processes: [{ ...ended, ...listed }], total: 1 }),
    signal: unused,
    cancel: unused,
  }
  const dial = agentDial({ url, key, instance, buildVersion: '1.0' })
  return serveDial({ dial, router: processRouter(host), random: () => 0 })
}

/** Ends an interrupted turn with a part of each kind, and fails the next one, while a message waits. */
async function endTurns(store: Store, chatId: string): Promise<void> {
  const runs = createRunChanges(store)
  const take = async () => {
    const row = await store.takeChat({ id: chatId, runner: randomUUID(), leaseMs: 60_000 })
    if (!row?.runner) throw new Error('the chat does not run')
    return { chatId, runner: row.runner, fence: row.fence, historyVersion: row.historyVersion }
  }
  const send = async (text: string) => {
    const { code } = await runWords(['chats', 'send', chatId, text, '--no-watch', '--json'])
    expect(code).toBe(0)
  }
  const call = { toolCallId: 't', toolName: 'execute' }
  const parts = [
    { type: 'reasoning', text: 'x' },
    { type: 'text', text: 'x' },
    { type: 'source', url: 'https://example.com', title: 'x' },
    { type: 'tool-call', ...call, input: '{}' },
    { type: 'tool-result', ...call, output: 'x', isError: true, cancelled: true },
  ] as const
  const usage = { inputTokens: 1, outputTokens: 1, cacheReadInputTokens: 0, cacheWriteInputTokens: 0 }
  await runs.finishInterrupt(await take(), [
    { role: 'assistant', parts, usage, interceptionId: randomUUID(), finishReason: 'end' },
  ])
  await send('again')
  await send('and again')
  const run = await take()
  await runs.noteRetry(run, { attempt: 1, at: new Date(), reason: 'unavailable', message: 'x' })
  await runs.failTurn(run, { reason: 'rate_limited', message: 'x', status: 429, retryAt: new Date() })
}

function textOf(value: unknown, field: string): string {
  const text: unknown = Reflect.get(Object(value), field)
  if (typeof text !== 'string') throw new Error(`no ${field} in ${JSON.stringify(value)}`)
  return text
}

/** Lets a purge name a daemon. */
async function outboxThatIsAway(store: Store): Promise<void> {
  const outboxId = randomUUID()
  const seen = { watch: randomUUID(), at: new Date() }
  await store.recordOutboxWatched({ outboxId, daemonKeyId: null, isDurable: true }, seen)
  await store.recordOutboxLeft(outboxId, seen)
}

/** Runs `interceptions tail` during the work and returns its lines. */
async function tail(work: () => Promise<unknown>): Promise<{ kind: string; record?: unknown }[]> {
  let text = ''
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation(chunk => {
    text += String(chunk)
    return true
  })
  // The last record of the work is the end of an interception.
  const { createProgram } = await import('../../server/commands/command-line.js')
  const ended = createProgram().parseAsync(['interceptions', 'tail', '--json'], { from: 'user' })
  try {
    await expect.poll(() => text).toContain('"watching"')
    await work()
    await expect.poll(() => text).toContain('"interceptionEnded"')
  } finally {
    process.stdout.emit('error', new Error('the reader is gone'))
    spy.mockRestore()
  }
  await ended
  return text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}
