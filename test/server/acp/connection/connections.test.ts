import { createServer } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { AcpConnection } from '../../../../server/acp/connection/acp-connection.js'
import { Connections } from '../../../../server/acp/connection/connections.js'
import type { AcpSettings } from '../../../../server/acp/options.js'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import { acpServerLimits, acpServerTimes } from '../../../../shared/acp/limits.js'
import { silentLogger } from '../../../../shared/values/log.js'

function makeConnections() {
  const settings: AcpSettings<{ userId: string }> = {
    server: createServer(),
    path: '/acp',
    group: new ConnectionGroup(),
    agent: () => {
      throw new Error('no agent is needed')
    },
    limits: acpServerLimits,
    times: acpServerTimes,
    replicaId: 'here',
    logger: silentLogger,
    observer: {},
  }
  onTestFinished(async () => void (await settings.group.close({ graceMs: 0 })))
  return { connections: new Connections(settings), group: settings.group }
}

const end = { reason: 'deleted', message: '' } as const

test('B1: connection 1,001 is rejected, and so is the 33rd of one user', () => {
  const { connections } = makeConnections()
  const opened: AcpConnection[] = []
  for (let count = 0; count < 32; count++) opened.push(connections.open({ userId: 'ada' }, 'http'))
  const tooMany = expect.objectContaining({ reason: 'too_many_connections' })
  expect(() => connections.open({ userId: 'ada' }, 'http')).toThrow(tooMany)
  for (let count = 32; count < 1_000; count++) connections.open({ userId: `user-${count}` }, 'websocket')
  expect(() => connections.open({ userId: 'bob' }, 'http')).toThrow(tooMany)
  opened[0]?.end(end, 'cut')
  opened[0]?.end(end, 'cut')
  connections.open({ userId: 'ada' }, 'http')
  expect(() => connections.open({ userId: 'bob' }, 'http')).toThrow(tooMany)
  expect(connections.size).toBe(1_000)
})

test('B6: an ended connection is found no more and leaves the group', async () => {
  const { connections, group } = makeConnections()
  const connection = connections.open({ userId: 'ada' }, 'http')
  expect(connections.find(connection.id, { userId: 'ada' })).toBe(connection)
  connection.end(end, 'cut')
  expect(() => connections.find(connection.id, { userId: 'ada' })).toThrow(
    expect.objectContaining({ reason: 'unknown_connection' }),
  )
  expect({ size: connections.size, members: group.connections }).toEqual({ size: 0, members: 0 })
  expect(await connection.closed).toMatchObject({ code: 1000, reason: 'deleted' })
  expect(connection.signal.aborted).toBe(true)
})

describe('a connection id', () => {
  test.each([
    [undefined, 'connection_id_missing'],
    ['', 'unknown_connection'],
    ['here.7', 'unknown_connection'],
    ['there.7', 'wrong_replica'],
    ['x'.repeat(257), 'unknown_connection'],
  ])('%s is rejected with %s', (id, reason) => {
    const { connections } = makeConnections()
    expect(() => connections.find(id, { userId: 'ada' })).toThrow(expect.objectContaining({ reason }))
  })
})
