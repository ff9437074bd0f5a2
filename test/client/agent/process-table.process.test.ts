import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ProcessTable } from '../../../client/agent/process-table.js'
import { errorReasonOf as reasonOf } from '../../../shared/contract/error-reasons.js'
import { processLimits } from '../../../shared/contract/limits.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { isAlive, openAgent, until, untilGone } from './agent.js'

leavesNothing()
afterEach(() => void vi.useRealTimers())

/** A clock that stands still; the system's own events go on. */
const stopClock = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })

const noCall = {}

/** The state and output of a process when it has ended. */
function endOf(table: ProcessTable, id: string) {
  return table.output({ id, waitMs: processLimits.maxWaitMs }, noCall)
}

const stateOf = (table: ProcessTable, id: string) => table.output({ id, waitMs: 0 }, noCall)

describe('an output', () => {
  test('stdout and stderr are one output in the order of writing', async () => {
    const { table, run } = await openAgent()
    const id = await run('echo a; echo b >&2; echo c; (echo d >&2)')
    expect(await endOf(table, id)).toEqual({
      output: 'a\nb\nc\nd\n',
      running: false,
      exitCode: 0,
      durationMs: expect.any(Number),
    })
  })

  test('an output that is closed early ends no process', async () => {
    const { table, run, folder } = await openAgent()
    const id = await run('echo a; exec > closed 2>&1; until [ -e go ]; do sleep 0.01; done; exit 3')
    await until(async () => existsSync(`${folder}/closed`) && (await stateOf(table, id)).output === 'a\n')
    expect(await table.output({ id, waitMs: 20 }, noCall)).toMatchObject({ running: true, output: 'a\n' })
    writeFileSync(`${folder}/go`, '')
    expect(await endOf(table, id)).toMatchObject({ running: false, exitCode: 3, output: 'a\n' })
  })

  test('lines of concurrent writers stay whole', async () => {
    const { table, run } = await openAgent()
    const writers = [1, 2, 3].map(n => `(i=0; while [ $i -lt 100 ]; do echo ${n}-$i; i=$((i+1)); done) &`)
    const { output } = await endOf(table, await run(`${writers.join('\n')}\nwait`))
    const expected = [1, 2, 3].flatMap(n => Array.from({ length: 100 }, (_, i) => `${n}-${i}`))
    expect(output.trimEnd().split('\n').sort()).toEqual(expected.sort())
  })

  test('a fault of the shell itself is output', async () => {
    const { table, run } = await openAgent()
    const { output, exitCode } = await endOf(table, await run('if'))
    expect(output).toMatch(/syntax error/i)
    expect(exitCode).toBe(2)
  })

  test('an output is read while the process runs, and a wait ends at waitMs', async () => {
    const { table, run } = await openAgent()
    const id = await run('echo started; exec sleep 60')
    await until(async () => (await stateOf(table, id)).output === 'started\n')
    const state = await table.output({ id, waitMs: 1 }, noCall)
    expect(state).toEqual({ output: 'started\n', running: true, durationMs: expect.any(Number) })
  })

  test('a wait ends when its caller cancels, and the process goes on', async () => {
    const { table, run } = await openAgent()
    const id = await run('exec sleep 60')
    const caller = new AbortController()
    const waiting = table.output({ id, waitMs: processLimits.maxWaitMs }, { signal: caller.signal })
    caller.abort()
    expect(await waiting).toMatchObject({ running: true })
    expect(await stateOf(table, id)).toMatchObject({ running: true })
    expect(await table.output({ id, waitMs: 60_000 }, { signal: caller.signal })).toMatchObject({ running: true })
  })
})

describe('an exit', () => {
  test.each([
    ['exit 3', { exitCode: 3 }],
    ['kill -9 $$', { exitCode: null, signal: 'SIGKILL' }],
    ['sh -c "kill -9 \\$\\$"; exit $?', { exitCode: 137 }],
  ])('%s', async (command, exit) => {
    const { table, run } = await openAgent()
    const { output: _, ...state } = await endOf(table, await run(command))
    expect(state).toEqual({ running: false, durationMs: expect.any(Number), ...exit })
  })
})

describe('a start', () => {
  test('eight concurrent starts of one id run once', async () => {
    const { table, lines } = await openAgent()
    const input = { id: 'once', command: 'echo ran >> file', background: false }
    const started = await Promise.all(Array.from({ length: 8 }, () => table.start({ ...input })))
    expect(started.map(({ attached }) => attached)).toEqual([false, ...Array(7).fill(true)])
    await endOf(table, 'once')
    expect(await table.start(input)).toEqual({ id: 'once', attached: true })
    expect(lines('file')).toEqual(['ran'])
  })

  test('an id that is in use takes no other input', async () => {
    const { table, folder } = await openAgent()
    const input = {
      id: 'a',
      command: 'true',
      background: false,
      env: { A: '1', B: '2' },
      dir: folder,
      deadlineMs: 9_999,
    }
    await table.start(input)
    expect(await table.start({ ...input, env: { B: '2', A: '1' } })).toMatchObject({ attached: true })
    for (const change of [
      { command: 'false' },
      { background: true },
      { env: { A: '1' } },
      { dir: '/' },
      { deadlineMs: 10_000 },
      { scope: 's' },
    ]) {
      // The operator, who has no scope, sees the process.
      const attempt = table.start({ ...input, ...change })
      const reason = 'scope' in change ? 'unknown_process' : 'input_differs'
      await expect(attempt, JSON.stringify(change)).rejects.toMatchObject({ reason })
    }
  })

  test.each([
    ['a directory that is missing', 'missing'],
    ['a file', 'file'],
  ])('%s is no directory, and the id is free afterwards', async (_name, dir) => {
    const { table, folder, run } = await openAgent()
    writeFileSync(`${folder}/file`, '')
    const both = [run('pwd', { id: 'a', dir }), run('pwd', { id: 'a', dir })]
    for (const attempt of both) await expect(attempt).rejects.toMatchObject({ reason: 'dir_not_found' })
    mkdirSync(`${folder}/there`)
    await run('pwd', { id: 'a', dir: 'there' })
    expect(await endOf(table, 'a')).toMatchObject({ output: `${folder}/there\n` })
  })

  test('a command that the system does not take is rejected, and the id is free afterwards', async () => {
    const huge = await openAgent({ env: { ...process.env, HUGE: 'x'.repeat(200_000) } })
    await expect(huge.run('true', { id: 'a' })).rejects.toMatchObject({
      reason: 'not_started',
      message: expect.stringContaining('E2BIG'),
    })
    await expect(stateOf(huge.table, 'a')).rejects.toMatchObject({ reason: 'unknown_process' })
  })

  test('of kept processes the one that ended first goes first', async () => {
    const { table, run } = await openAgent({ limits: { maxRunning: 2, maxKept: 3 } })
    await run('exec sleep 60', { id: 'running' })
    for (const id of ['a', 'b', 'c', 'd']) {
      await run('true', { id })
      await endOf(table, id)
    }
    const states = ['running', 'a', 'b', 'c', 'd'].map(id =>
      stateOf(table, id).then(({ running }) => running, reasonOf),
    )
    expect(await Promise.all(states)).toEqual([true, 'output_gone', 'output_gone', false, false])
    expect(await table.list({})).toMatchObject({ total: 3 })
  })

  test('a process behind its deadline is terminated', async () => {
    stopClock()
    const { table, run } = await openAgent()
    const id = await run('exec sleep 60', { deadlineMs: 5_000 })
    await vi.advanceTimersByTimeAsync(4_999)
    expect(await stateOf(table, id)).toMatchObject({ running: true })
    const end = endOf(table, id)
    await vi.advanceTimersByTimeAsync(1)
    expect(await end).toMatchObject({ running: false, exitCode: null, signal: 'SIGTERM' })
  })
})

describe('the end', () => {
  test('the end comes 5 s after the exit if a background child holds the output, which may write on', async () => {
    stopClock()
    const { table, run, folder } = await openAgent()
    const id = await run(
      '{ until [ -e go ]; do sleep 0.01; done; echo late; touch written; exec sleep 60; } & echo $!; exit 3',
    )
    await until(async () => (await stateOf(table, id)).exitCode === 3)
    await vi.advanceTimersByTimeAsync(4_999)
    expect(await stateOf(table, id)).toMatchObject({ running: true })
    const end = endOf(table, id)
    await vi.advanceTimersByTimeAsync(1)
    const ended = await end
    expect(ended).toMatchObject({ running: false, exitCode: 3, output: expect.stringMatching(/^\d+\n$/) })
    await expect(table.signal({ id, signal: 'kill' })).rejects.toMatchObject({ reason: 'not_running' })
    writeFileSync(`${folder}/go`, '')
    await until(() => existsSync(`${folder}/written`))
    expect(await stateOf(table, id)).toEqual(ended)
    expect(isAlive(ended.output.trim())).toBe(true)
    await table.close()
    expect(isAlive(ended.output.trim())).toBe(false)
  })

  test('an output is kept for 5 minutes after the last read, then a receipt starts nothing', async () => {
    stopClock()
    const { table, run, lines } = await openAgent()
    const id = await run('echo ran >> file; exit 3')
    const ended = await endOf(table, id)
    for (let reads = 0; reads < 2; reads++) {
      await vi.advanceTimersByTimeAsync(processLimits.keptMs - 1)
      expect(await stateOf(table, id)).toEqual(ended)
    }
    await vi.advanceTimersByTimeAsync(processLimits.keptMs)
    for (const attempt of [stateOf(table, id), table.cancel({ id, waitMs: 0 }, noCall)]) {
      await expect(attempt).rejects.toMatchObject({
        reason: 'output_gone',
        message: expect.stringContaining('exited with 3'),
      })
    }
    await expect(table.signal({ id, signal: 'kill' })).rejects.toMatchObject({ reason: 'not_running' })
    expect(await table.list({})).toEqual({ processes: [], total: 0 })
    expect(await table.start({ id, command: 'echo ran >> file; exit 3', background: false })).toEqual({
      id,
      attached: true,
    })
    await expect(table.start({ id, command: 'true', background: false })).rejects.toMatchObject({
      reason: 'input_differs',
    })
    expect(lines('file')).toEqual(['ran'])
  })
})

describe('a signal', () => {
  test.each(['terminate', 'kill'] as const)('a signal ends all members of a pipeline: %s', async signal => {
    const { table, run } = await openAgent()
    const id = await run('sh -c "echo \\$\\$; exec sleep 60" | cat; true')
    await until(async () => (await stateOf(table, id)).output !== '')
    const { output } = await stateOf(table, id)
    expect(isAlive(output.trim())).toBe(true)
    await table.signal({ id, signal })
    expect(await endOf(table, id)).toMatchObject({ exitCode: null, signal: signal === 'kill' ? 'SIGKILL' : 'SIGTERM' })
    // A process closes its files a moment before it has ended.
    await untilGone([output.trim()])
  })

  test('a signal ends children whose shell has gone', async () => {
    const { table, run } = await openAgent()
    const id = await run('sleep 60 & sleep 60 & exit 0')
    await until(async () => (await stateOf(table, id)).exitCode === 0)
    await table.signal({ id, signal: 'terminate' })
    expect(await endOf(table, id)).toMatchObject({ running: false, exitCode: 0 })
  })

  test.each(['terminate', 'kill'] as const)('a signal reaches a child that left the group: %s', async signal => {
    const { table, run, lines } = await openAgent()
    const id = await run('setsid sh -c "sleep 60 & echo \\$\\$ >> pids; echo \\$! >> pids; echo; wait"; true')
    await until(async () => (await stateOf(table, id)).output === '\n')
    const pids = lines('pids')
    expect(pids.map(isAlive)).toEqual([true, true])
    await table.signal({ id, signal })
    await untilGone(pids)
    await endOf(table, id)
  })

  test('a signal reaches a member of the session that has a group of its own and no parent', async () => {
    const { table, run, lines } = await openAgent()
    const id = await run(`bash -c 'set -m; sleep 60 > /dev/null & echo $! > pid'; echo; exec sleep 60`)
    await until(async () => (await stateOf(table, id)).output === '\n')
    const [pid] = lines('pid')
    expect(isAlive(pid)).toBe(true)
    await table.signal({ id, signal: 'terminate' })
    await untilGone([pid])
    await endOf(table, id)
  })

  test('a signal comes to the group once, and to each child that left the group', async () => {
    const { table, run, lines } = await openAgent()
    const id = await run('echo $$ >> pids; setsid sh -c "echo \\$\\$ >> pids; echo; exec sleep 60" | cat')
    await until(async () => (await stateOf(table, id)).output === '\n')
    const sent = vi.spyOn(process, 'kill')
    onTestFinished(() => sent.mockRestore())
    await table.signal({ id, signal: 'terminate' })
    const [leader, escaped] = lines('pids').map(Number)
    expect(sent.mock.calls).toEqual([
      [-(leader ?? 0), 'SIGTERM'],
      [escaped, 'SIGTERM'],
    ])
    await endOf(table, id)
  })
})

describe('a cancel', () => {
  test('a cancel before the start leaves a tombstone', async () => {
    const { table, run, lines } = await openAgent()
    for (let repeats = 0; repeats < 2; repeats++) {
      expect(await table.cancel({ id: 'a', waitMs: 60_000 }, noCall)).toEqual({
        ran: false,
        running: false,
        output: '',
        durationMs: 0,
      })
    }
    await expect(run('echo ran >> file', { id: 'a' })).rejects.toMatchObject({ reason: 'cancelled' })
    await expect(run('echo ran >> file', { id: 'a', scope: 's' })).rejects.toMatchObject({ reason: 'cancelled' })
    await expect(stateOf(table, 'a')).rejects.toMatchObject({ reason: 'cancelled' })
    await expect(table.signal({ id: 'a', signal: 'kill' })).rejects.toMatchObject({ reason: 'not_running' })
    expect(lines('file')).toEqual([])
  })

  test('a cancel that races a start either rejects the start or ends the process', async () => {
    const { table, run, lines } = await openAgent()
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, async (_, turns) => {
        const id = `id ${turns}`
        const starts = [0, 1].map(() =>
          run(`echo ${turns} >> file; exec sleep 60`, { id }).then(
            () => true,
            error => error.reason,
          ),
        )
        for (let turn = 0; turn < turns; turn++) await new Promise(resolve => setImmediate(resolve))
        const { ran, running } = await table.cancel({ id, waitMs: 60_000 }, noCall)
        expect(running).toBe(false)
        expect(await Promise.all(starts)).toEqual(ran ? [true, true] : ['cancelled', 'cancelled'])
        if (!ran) await expect(run('true', { id })).rejects.toMatchObject({ reason: 'cancelled' })
        return { ran, turns }
      }),
    )
    expect(outcomes[0]).toEqual({ ran: false, turns: 0 })
    const unstarted = outcomes.filter(({ ran }) => !ran).map(({ turns }) => String(turns))
    expect(lines('file').filter(turns => unstarted.includes(turns))).toEqual([])
  })

  test('a cancel ends a process, and says how a process has ended before', async () => {
    const { table, run } = await openAgent()
    const id = await run('echo started; exec sleep 60')
    await until(async () => (await stateOf(table, id)).output !== '')
    const state = { ran: true, running: false, exitCode: null, signal: 'SIGTERM', output: 'started\n' }
    expect(await table.cancel({ id, waitMs: 60_000 }, noCall)).toMatchObject(state)
    expect(await table.cancel({ id, waitMs: 60_000 }, noCall)).toMatchObject(state)
    expect(await table.start({ id, command: 'echo started; exec sleep 60', background: false })).toMatchObject({
      attached: true,
    })
  })

  test('a cancel kills 2 s later what ignores SIGTERM, also if the shell has ended by then', async () => {
    stopClock()
    const { table, run, lines } = await openAgent()
    const deaf = `sh -c 'trap "" TERM; echo $$ > pid; exec sleep 60'`
    const ids = [
      await run(`${deaf.replace(/pid/, 'pid1')}; true`),
      await run(`${deaf.replace(/pid/, 'pid2')} > /dev/null 2>&1 & wait`),
    ]
    await until(() => lines('pid1')[0] !== undefined && lines('pid2')[0] !== undefined)
    const pids = [...lines('pid1'), ...lines('pid2')]
    const sent = vi.spyOn(process, 'kill')
    onTestFinished(() => sent.mockRestore())
    for (const id of [...ids, ...ids])
      expect(await table.cancel({ id, waitMs: 0 }, noCall)).toMatchObject({ ran: true })
    await until(async () => !(await stateOf(table, ids[1] ?? '')).running)
    expect(pids.map(isAlive)).toEqual([true, true])
    expect(sent.mock.calls.filter(([, signal]) => signal === 'SIGTERM')).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(1_999)
    expect(pids.map(isAlive)).toEqual([true, true])
    await vi.advanceTimersByTimeAsync(1)
    await untilGone(pids)
    expect(await endOf(table, ids[0] ?? '')).toMatchObject({ running: false, signal: 'SIGTERM' })
  })
})

describe('a scope', () => {
  test('a scope sees its own processes, and a call without one sees all', async () => {
    const { table, run } = await openAgent()
    await run('true', { id: 'a', scope: 'one' })
    await run('true', { id: 'b' })
    for (const id of ['a', 'b', 'c']) {
      const rejection = { code: 'NOT_FOUND', reason: 'unknown_process' }
      await expect(table.output({ id, scope: 'two', waitMs: 0 }, noCall)).rejects.toMatchObject(rejection)
      await expect(table.signal({ id, scope: 'two', signal: 'kill' })).rejects.toMatchObject(rejection)
      if (id === 'c') continue
      await expect(table.cancel({ id, scope: 'two', waitMs: 0 }, noCall)).rejects.toMatchObject(rejection)
      await expect(run('true', { id, scope: 'two' })).rejects.toMatchObject(rejection)
    }
    await table.cancel({ id: 'c', scope: 'one', waitMs: 0 }, noCall)
    await expect(run('true', { id: 'c', scope: 'two' })).rejects.toMatchObject({ reason: 'unknown_process' })
    const idsOf = async (scope?: string) => {
      const { processes, total } = await table.list({ scope })
      return [...processes.map(({ id }) => id), total]
    }
    expect([await idsOf('one'), await idsOf('two'), await idsOf()]).toEqual([['a', 1], [0], ['b', 'a', 2]])
  })

  test('a scope stands in the environment of its commands, and no secret does', async () => {
    const { table, run } = await openAgent({
      env: { ...process.env, BRIDGE_DAEMON_KEY: 'secret', AIBRIDGE_SCOPE: 'outer' },
    })
    const command = 'echo $AIBRIDGE_SCOPE-$BRIDGE_DAEMON_KEY-$A; env | grep -c BRIDGE_'
    expect(await endOf(table, await run(command, { scope: 's', env: { A: '1' } }))).toMatchObject({
      output: 's--1\n1\n',
    })
    expect(await endOf(table, await run(command))).toMatchObject({ output: '--\n0\n' })
  })
})

test('a list has the newest ten, running ones first', async () => {
  const { table, run, folder } = await openAgent()
  const long = `true ${'ü'.repeat(1_000)}`
  await run('exec sleep 60', { id: 'running', background: true, scope: 's', dir: '/' })
  for (let n = 0; n < 11; n++) await endOf(table, await run(n === 10 ? long : 'exit 3', { id: `ended ${n}` }))
  const { processes, total } = await table.list({})
  expect(total).toBe(12)
  expect(processes.map(({ id }) => id)).toEqual(['running', ...[10, 9, 8, 7, 6, 5, 4, 3, 2].map(n => `ended ${n}`)])
  const times = { startedAt: expect.any(Date), durationMs: expect.any(Number) }
  expect(processes[0]).toEqual({
    ...times,
    id: 'running',
    scope: 's',
    command: 'exec sleep 60',
    dir: '/',
    background: true,
    running: true,
  })
  expect(processes[1]?.command).toBe(long.slice(0, 5 + 509))
  expect(processes[2]).toEqual({
    ...times,
    id: 'ended 9',
    command: 'exit 3',
    dir: folder,
    background: false,
    running: false,
    exitCode: 3,
  })
})

describe('an agent that closes', () => {
  test('an agent that closes ends all processes and background children, and starts none', async () => {
    const { table, run, lines } = await openAgent()
    const running = await run('exec sleep 60')
    const ended = await run('sleep 60 > /dev/null 2>&1 & echo $! > pid')
    await endOf(table, ended)
    const starting = run('echo ran >> file')
    const end = endOf(table, running)
    await Promise.all([table.close(), expect(starting).rejects.toMatchObject({ reason: 'draining' })])
    expect(await end).toMatchObject({ running: false, signal: 'SIGTERM' })
    expect(isAlive(lines('pid')[0])).toBe(false)
    await expect(run('echo ran >> file')).rejects.toMatchObject({ reason: 'draining' })
    expect(lines('file')).toEqual([])
  })

  test('an agent that closes kills 5 s later what ignores SIGTERM', async () => {
    stopClock()
    const { table, run } = await openAgent()
    const id = await run('trap "" TERM; echo ready; while :; do sleep 0.1; done')
    await until(async () => (await stateOf(table, id)).output !== '')
    const end = endOf(table, id)
    const closed = table.close()
    await vi.advanceTimersByTimeAsync(4_999)
    expect(await stateOf(table, id)).toMatchObject({ running: true })
    await vi.advanceTimersByTimeAsync(1)
    await closed
    expect(await end).toMatchObject({ running: false, signal: 'SIGKILL' })
  })

  test.each([
    [
      'a cancel, which kills 2 s later',
      2_000,
      (table: ProcessTable, id: string) => table.cancel({ id, waitMs: 0 }, noCall),
    ],
    ['a signal', 5_000, (table: ProcessTable, id: string) => table.signal({ id, signal: 'terminate' })],
    ['nothing', 5_000, undefined],
  ])('an agent that closes ends a child that left the group and ignores SIGTERM, after %s', async (_, killMs, end) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const { table, run, lines } = await openAgent()
    const id = await run(`setsid sh -c 'trap "" TERM; echo $$ > pid; exec sleep 60' > /dev/null 2>&1 & wait`)
    await until(() => lines('pid')[0] !== undefined)
    if (end) {
      await end(table, id)
      await until(async () => !(await stateOf(table, id)).running)
    }
    let isClosed = false
    const closed = table.close().then(() => {
      isClosed = true
    })
    await until(async () => !(await stateOf(table, id)).running)
    await vi.advanceTimersByTimeAsync(killMs - 1)
    expect([isAlive(lines('pid')[0]), isClosed]).toEqual([true, false])
    await vi.advanceTimersByTimeAsync(2)
    await closed
    expect(isAlive(lines('pid')[0])).toBe(false)
  })
})

test('an agent describes itself, with a new instance id at each start', async () => {
  const [one, two] = [await openAgent(), await openAgent()]
  const info = await one.table.info()
  expect(info).toEqual({
    instanceId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    os: process.platform,
    home: expect.stringMatching(/^\//),
    dir: one.folder,
    startedAt: expect.any(Date),
    buildVersion: 'test',
  })
  expect((await two.table.info()).instanceId).not.toBe(info.instanceId)
})
