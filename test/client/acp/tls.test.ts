/** Servers of agents whose certificates an authority of their own has signed. */
import { readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { createAcpClient } from '../../../client/acp/acp-client.js'
import { AcpPeer } from '../../fixtures/acp/acp-peer.js'
import { startAcp } from '../../fixtures/acp/acp-server.js'
import { duplexOf } from '../../fixtures/acp/sdk-agent.js'
import { makeAgent } from '../../fixtures/acp/stdio-agent.mjs'
import { closeOpened } from '../../fixtures/leaves-nothing.js'
import { caFile, startTlsProxy } from '../../fixtures/tls-proxy.js'

afterEach(closeOpened)

test.each(['https', 'wss'])(
  'a server with an own authority is reached over %s by clients that know it',
  async scheme => {
    const { port } = await startAcp({ agent: () => duplexOf(makeAgent()) })
    const url = `${(await startTlsProxy({ port })).replace('https', scheme)}/acp`
    const client = createAcpClient({ url, tls: { ca: readFileSync(caFile) } })
    expect(await new AcpPeer(client).request('initialize', { protocolVersion: 1 })).toMatchObject({
      protocolVersion: 1,
    })
    await client.close()
    const stranger = createAcpClient({ url })
    expect((await new AcpPeer(stranger).failure('initialize')).data).toEqual({
      reason: 'unreachable',
      mayHaveRun: false,
    })
    await stranger.closed
    expect(stranger.error?.cause).toMatchObject({ code: expect.stringMatching(/CERT|VERIFY/) })
  },
)
