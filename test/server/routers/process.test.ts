/** The process router in front of a process table, on every link: each row of the procedures, and rejected inputs. */
import { once } from 'node:events'
import { describe, expect, test, vi } from 'vitest'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { type ProcessRouter, processRouter } from '../../../server/routers/process.js'
import type { ProcessCall } from '../../../shared/contract/agents.js'
import { processLimits } from '../../../shared/contract/limits.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import { openAgent, until } from '../../client/agent/agent.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'

const { maxCommandBytes, maxEnvEntries, maxEnvBytes, maxWaitMs, maxDeadlineMs } = processLimits

describe.each(links)('the processes of an agent, $name', ({ link }) => {
  leavesNothing()

  async function callAgent() {
    const agent = await openAgent()
    const { connection, sever } = link(processRouter(agent.table), { client: { resend: () => true } })
    return { ...agent, sever, client: createDuplexClient<ProcessRouter>({ connection, transformer }) }
  }

  test('info', async () => {
    const { client, table } = await callAgent()
    expect(await client.info.query()).toEqual(await table.info())
  })

  test('start, output, list', async () => {
    const { client, folder } = await callAgent()
    const input = {
      id: 'a',
      scope: 's',
      command: 'echo "$A" >&2; pwd; exit 3',
      dir: folder,
      env: { A: 'ü' },
      background: true,
    }
    expect(await client.start.mutate(input)).toEqual({ id: 'a', attached: false })
    expect(await client.start.mutate(input)).toEqual({ id: 'a', attached: true })
    await expect(client.start.mutate({ ...input, command: 'true' })).rejects.toMatchObject({
      data: { code: 'CONFLICT', reason: 'input_differs' },
    })
    await expect(client.start.mutate({ ...input, scope: 'other' })).rejects.toMatchObject({
      data: { code: 'NOT_FOUND', reason: 'unknown_process' },
    })
    const ended = { running: false, exitCode: 3, durationMs: expect.any(Number) }
    const output = await client.output.query({ id: 'a', scope: 's', waitMs: maxWaitMs })
    expect(output).toEqual({ ...ended, output: `ü\n${folder}\n` })
    const { command, dir, background } = input
    const listed = { ...ended, id: 'a', scope: 's', command, dir, background, startedAt: expect.any(Date) }
    expect(await client.list.query({ scope: 's' })).toEqual({ processes: [listed], total: 1 })
    expect(await client.list.query({ scope: 'other' })).toEqual({ processes: [], total: 0 })
  })

  test('signal, cancel', async () => {
    const { client } = await callAgent()
    await client.start.mutate({ id: 'a', command: 'exec sleep 60', background: false })
    const output = client.output.query({ id: 'a', waitMs: maxWaitMs })
    expect(await client.signal.mutate({ id: 'a', signal: 'kill' })).toEqual({})
    const killed = { running: false, exitCode: null, signal: 'SIGKILL', output: '', durationMs: expect.any(Number) }
    expect(await output).toEqual(killed)
    expect(await client.cancel.mutate({ id: 'a', waitMs: 0 })).toEqual({ ...killed, ran: true })
    await expect(client.signal.mutate({ id: 'a', signal: 'kill' })).rejects.toMatchObject({
      data: { code: 'PRECONDITION_FAILED', reason: 'not_running' },
    })
    expect(await client.cancel.mutate({ id: 'b', waitMs: 0 })).toMatchObject({ ran: false, running: false })
    await expect(client.start.mutate({ id: 'b', command: 'true', background: false })).rejects.toMatchObject({
      data: { code: 'PRECONDITION_FAILED', reason: 'cancelled' },
    })
    for (const call of [client.output.query({ id: 'c', waitMs: 0 }), client.signal.mutate({ id: 'c', signal: 'kill' })])
      await expect(call).rejects.toMatchObject({ data: { code: 'NOT_FOUND', reason: 'unknown_process' } })
  })

  test('a wait that its caller cancels is over at the agent, and the process goes on', async () => {
    const { client, table } = await callAgent()
    await client.start.mutate({ id: 'a', command: 'exec sleep 60', background: false })
    const caller = new AbortController()
    const output = table.output.bind(table)
    const called = new Promise<ProcessCall>(resolve => {
      vi.spyOn(table, 'output').mockImplementationOnce((input, call) => {
        resolve(call)
        return output(input, call)
      })
    })
    const waiting = client.output.query({ id: 'a', waitMs: maxWaitMs }, { signal: caller.signal })
    const { signal } = await called
    if (!signal) throw new Error('a call over a link has a signal')
    const aborted = once(signal, 'abort')
    caller.abort()
    await expect(waiting).rejects.toThrow()
    await aborted
    expect(await client.output.query({ id: 'a', waitMs: 0 })).toMatchObject({ running: true })
  })

  test('a wait goes on over the next connection, and the command has run once', async () => {
    const { client, folder, lines, sever } = await callAgent()
    const command = 'echo ran >> file; until [ -e go ]; do sleep 0.01; done; echo done'
    await client.start.mutate({ id: 'a', command, background: false })
    const output = client.output.query({ id: 'a', waitMs: maxWaitMs })
    await until(() => lines('file').length > 0)
    sever()
    await client.start.mutate({ id: 'go', command: `touch ${folder}/go`, background: false })
    expect(await output).toMatchObject({ output: 'done\n', exitCode: 0 })
    expect(await client.start.mutate({ id: 'a', command, background: false })).toEqual({ id: 'a', attached: true })
    expect(lines('file')).toEqual(['ran'])
  })

  const start = { id: 'a', command: 'echo ran >> file', background: false }
  const entries = (count: number, value: string) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`V${n}`, value]))

  const badStarts: [fault: string, input: object][] = [
    ['no id', { ...start, id: '' }],
    ['an id of 257 characters', { ...start, id: 'x'.repeat(257) }],
    ['no command', { ...start, command: '' }],
    ['a command above 64 KiB', { ...start, command: `true ${'ü'.repeat(maxCommandBytes / 2)}` }],
    ['a command with U+0000', { ...start, command: 'echo \0' }],
    ['a command with a lone surrogate', { ...start, command: 'echo \ud800' }],
    ['an empty directory', { ...start, dir: '' }],
    ['a directory with U+0000', { ...start, dir: '/\0' }],
    ['257 variables', { ...start, env: entries(maxEnvEntries + 1, '') }],
    ['variables above 64 KiB', { ...start, env: { A: 'x'.repeat(maxEnvBytes - 2) } }],
    ['a variable without a name', { ...start, env: { '': 'x' } }],
    ['a name with =', { ...start, env: { 'A=B': 'x' } }],
    ['a value with U+0000', { ...start, env: { A: '\0' } }],
    ['no word about background', { ...start, background: undefined }],
    ['a deadline of 0', { ...start, deadlineMs: 0 }],
    ['a deadline above a day', { ...start, deadlineMs: maxDeadlineMs + 1 }],
  ]

  test('a start that breaks a rule is rejected and starts nothing', async () => {
    const { client, lines, table } = await callAgent()
    for (const [fault, input] of badStarts) {
      const attempt = client.start.mutate(input as typeof start) // the fault is the subject
      await expect(attempt, fault).rejects.toMatchObject({ data: { code: 'BAD_REQUEST' } })
    }
    expect(await table.list({})).toEqual({ processes: [], total: 0 })
    expect(lines('file')).toEqual([])
  })

  test('the largest command and environment start', async () => {
    const { client } = await callAgent()
    const tail = '; printf %s "$A" | wc -c'
    const command = `: ${'ü'.repeat((maxCommandBytes - 2 - tail.length) / 2)}${tail}`
    const env = { ...entries(maxEnvEntries - 1, ''), A: '' }
    const used = Object.keys(env).reduce((sum, name) => sum + name.length + 2, 0)
    env.A = 'x'.repeat(maxEnvBytes - used)
    await client.start.mutate({ ...start, command, env })
    const { output } = await client.output.query({ id: 'a', waitMs: maxWaitMs })
    expect(output.trim()).toBe(String(env.A.length))
  })

  test('a call that breaks a rule is rejected', async () => {
    const { client } = await callAgent()
    const untyped = (call: unknown) => call as (input: object) => Promise<unknown> // the fault is the subject
    const [output, list] = [untyped(client.output.query), untyped(client.list.query)]
    const [signal, cancel] = [untyped(client.signal.mutate), untyped(client.cancel.mutate)]
    for (const [fault, call] of [
      ['output with a wait above 5 minutes', () => output({ id: 'a', waitMs: maxWaitMs + 1 })],
      ['output with a negative wait', () => output({ id: 'a', waitMs: -1 })],
      ['output without a wait', () => output({ id: 'a' })],
      ['list with an empty scope', () => list({ scope: '' })],
      ['signal with another signal', () => signal({ id: 'a', signal: 'stop' })],
      ['cancel without an id', () => cancel({ waitMs: 0 })],
      ['cancel with a wait above 5 minutes', () => cancel({ id: 'a', waitMs: maxWaitMs + 1 })],
    ] as const) {
      await expect(call(), fault).rejects.toMatchObject({ data: { code: 'BAD_REQUEST' } })
    }
  })
})
