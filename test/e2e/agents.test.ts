/** A server and an agent as processes of the built program. */
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import type { CreatedAgent } from '../../shared/contract/admin/agents.js'
import { makeDatabase } from '../fixtures/stores.js'
import { agentDeployment as deployment } from './agent-deployment.js'
import { balance } from './balancer.js'
import { cleanUp, run, runJson, startAgent, temporaryDirectory } from './process.js'
import { replicaEnvironment, startReplica } from './replica.js'

// A server's start takes a second, more on a busy machine.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })
afterEach(cleanUp)

test('a command on an agent has its output, its exit code and no key of the agent', async () => {
  const { agents, startAgentWithKey, folder, key } = await deployment()
  const agent = await startAgentWithKey()
  expect(await agents('run', 'a', '--', 'pwd; echo problem >&2; exit 7')).toMatchObject({
    code: 7,
    stdout: `${folder}\nproblem\n`,
  })
  const { code, stdout } = await agents('run', 'a', '--', 'env')
  expect(code).toBe(0)
  expect(stdout).toContain('NO_COLOR=1')
  expect(stdout).not.toContain(key)
  expect((await agents('run', 'a', '--', 'printf', '%s|', "it's", 'a  b')).stdout).toBe("it's|a  b|")
  expect((await agents('run', 'a', '--', 'kill -TERM $$')).code).toBe(143)
  agent.kill('SIGTERM')
  expect(await agent.exited).toMatchObject({ code: 0 })
})

test('a command whose control plane is killed is read to its end, and runs once', async () => {
  const { server, follow, startAgent: start, restartServer, folder } = await deployment()
  const agent = await start()
  const command = `echo run >> runs; echo runs; until [ -e ${folder}/go ]; do sleep 0.02; done; echo done`
  const result = follow('run', 'a', '--', command)
  // The response of the start has arrived: without it the outcome would be unknown.
  expect(await result.line()).toBe('runs')
  server.kill('SIGKILL')
  await server.exited
  await restartServer()
  await writeFile(join(folder, 'go'), '')
  expect(await result.line()).toBe('done')
  expect(await result.exited).toEqual({ code: 0, signal: null })
  expect(readFileSync(join(folder, 'runs'), 'utf8')).toBe('run\n')
  agent.kill('SIGTERM')
  await agent.exited
})

test('a command whose agent is killed has an unknown outcome, and is not run again', async () => {
  const { agents, startAgent: start, folder } = await deployment()
  const first = await start()
  const command = `echo run >> runs; echo $$ > pid; until [ -e ${folder}/go ]; do sleep 0.02; done`
  const result = agents('run', 'a', '--', command)
  await vi.waitUntil(() => existsSync(join(folder, 'pid')), { timeout: 20_000 })
  first.kill('SIGKILL')
  await first.exited
  const second = await start()
  const { code, stderr } = await result
  expect(code).toBe(1)
  expect(JSON.parse(stderr)).toMatchObject({ code: 'PRECONDITION_FAILED', reason: 'agent_restarted' })
  await writeFile(join(folder, 'go'), '')
  expect(readFileSync(join(folder, 'runs'), 'utf8')).toBe('run\n')
  second.kill('SIGTERM')
  await second.exited
})

test('a key of an agent opens no bridge and no MCP endpoint, and a second process with it ends the first', async () => {
  const { server, agents, startAgent: start, key } = await deployment()
  for (const path of ['/bridge/demo/v1/models', '/mcp/wiki']) {
    const headers = { authorization: `Bearer ${key}`, 'x-api-key': key }
    expect((await fetch(server.url + path, { headers })).status, path).toBe(401)
  }
  const first = await start()
  expect((await agents('run', 'a', '--', 'true')).code).toBe(0)
  const second = await start()
  expect(await first.exited).toMatchObject({ code: 1 })
  expect(first.stderr()).toContain('"reason":"replaced"')
  expect((await agents('run', 'a', '--', 'true')).code).toBe(0)
  second.kill('SIGTERM')
  expect(await second.exited).toMatchObject({ code: 0 })
})

test('a command whose server is killed is read to its end through another server, and runs once', async () => {
  const database = await makeDatabase()
  onTestFinished(database.drop)
  const env = replicaEnvironment(database.url)
  const [far, near] = await Promise.all([startReplica(env), startReplica(env)])
  const at = ['--port', near.port]
  await run(['users', 'create', 'ada', ...at], { env })
  const { key } = await runJson<CreatedAgent>(['agents', 'create', '--name', 'a', '--user', 'ada', ...at], { env })
  const folder = await temporaryDirectory()
  let targets = [far]
  const balancer = await balance(() => targets)
  onTestFinished(balancer.close)
  const agent = await startAgent(balancer.url, ['--dir', folder], { BRIDGE_AGENT_KEY: key })

  const command = `echo run >> runs; until [ -e go ]; do sleep 0.02; done; echo done`
  const result = run(['agents', 'run', ...at, 'a', '--', command], { env })
  // The wait for the output stands at the server that holds the agent.
  const isRead = async () => (await metricsOf(near)).includes('peer_call_seconds_count{path="agents.output",code="OK"}')
  await vi.waitUntil(isRead, { timeout: 20_000 })
  targets = [near]
  far.kill('SIGKILL')
  await far.exited
  await near.logged('an agent is connected')
  await writeFile(join(folder, 'go'), '')
  expect(await result).toEqual({ code: 0, stdout: 'done\n', stderr: '' })
  expect(readFileSync(join(folder, 'runs'), 'utf8')).toBe('run\n')
  agent.kill('SIGTERM')
  await agent.exited
})

const metricsOf = async ({ url }: { url: string }) => (await fetch(`${url}/metrics`)).text()

test('Ctrl-C terminates the command on the agent', async () => {
  const { startAgent: start, folder, follow } = await deployment()
  const agent = await start()
  const command = follow(
    'run',
    'a',
    '--',
    'trap "echo ended > end; exit 5" TERM; echo runs; while :; do sleep 0.02; done',
  )
  expect(await command.line()).toBe('runs')
  command.kill('SIGINT')
  expect(await command.exited).toEqual({ code: 5, signal: null })
  expect(existsSync(join(folder, 'end'))).toBe(true)
  agent.kill('SIGTERM')
  await agent.exited
})

test('an agent whose key is revoked ends with 1', async () => {
  const { agents, startAgent: start } = await deployment()
  const agent = await start()
  expect((await agents('run', 'a', '--', 'true')).code).toBe(0)
  await agents('revoke', 'a')
  expect(await agent.exited).toMatchObject({ code: 1 })
  expect(agent.stderr()).toContain('"reason":"key_revoked"')
})
