import { expect, test } from 'vitest'
import { daemonConfig, serveConfig } from '../../../server/config/config.js'
import { doorOptions } from '../../../server/process/door-options.js'

const environment = {
  BRIDGE_FIRST_BYTE_TIMEOUT_MS: '1',
  BRIDGE_IDLE_TIMEOUT_MS: '2',
  BRIDGE_MAX_BODY_BYTES: '3',
  BRIDGE_MAX_TOTAL_BODY_BYTES: '4',
  BRIDGE_BODY_TIMEOUT_MS: '5',
  BRIDGE_CLIENT_TIMEOUT_MS: '6',
  BRIDGE_MCP_CALL_TIMEOUT_MS: '7',
  BRIDGE_DAEMON_KEY: 'abcdefghij-0123456789abcdefghijkl',
}

test.each([
  ['serve', () => serveConfig({}, environment)],
  ['daemon', () => daemonConfig({ url: 'http://127.0.0.1:4100' }, environment)],
])('every limit that %s is set to reaches its bridge', (_command, read) => {
  expect(doorOptions(read()).limits).toEqual({
    upstreamHeadersTimeoutMs: 1,
    upstreamIdleTimeoutMs: 2,
    maxBodyBytes: 3,
    maxTotalBodyBytes: 4,
    bodyTimeoutMs: 5,
    clientTimeoutMs: 6,
    mcpCallTimeoutMs: 7,
  })
})
