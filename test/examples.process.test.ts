/**
 * The examples, run from the packed package in an empty directory that has the dependencies of package.json and nothing
 * else.
 */
import { execFile } from 'node:child_process'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { transformWithOxc } from 'vite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nodeFlags } from './e2e/process.js'
import { type PackedPackage, packPackage } from './package/packed.js'

const run = promisify(execFile)

let packed: PackedPackage

beforeAll(async () => {
  // The build is there: the suite's, or that of `npm test`.
  packed = await packPackage()
  // This dependency is the examples' own.
  const name = '@agentclientprotocol/sdk'
  const link = join(packed.directory, 'node_modules', name)
  await mkdir(dirname(link), { recursive: true })
  await symlink(resolve('node_modules', name), link)
})
afterAll(() => packed.remove())

/** Example → what it prints. `sdk-over-http.ts` needs a running server: the test of the README runs it. */
const examples: Readonly<Record<string, string | RegExp>> = {
  'transport-in-memory.ts': 'hello Ada\n3 2 1\n{ drained: 0, aborted: 0 }\n',
  'transport-over-websocket.ts': 'hello Ada\nhello Ada\nhello Ada\nrejected: token_invalid\n',
  'transport-reversed.ts': 'hello Ada\nhello Ada\n{ drained: 0, aborted: 0 }\n',
  'acp-client.ts': 'over HTTP: 1\nover a WebSocket: 1\n',
  'acp-agent.ts': 'you said: hello\n{ drained: 0, aborted: 0 }\n',
  'embedded-control-plane.ts': 'a-model: 12 in, 34 out\n',
  'agent-in-process.ts': '42, exit code 0\n',
  'sdk-in-process.ts': /^This is the demo provider: [\s\S]*“Hello”[\s\S]*\nada: 1 request, \d+ output tokens\n$/,
}

test.concurrent.each(Object.entries(examples))(
  '%s runs from the packed package, and ends',
  async (name, expected) => {
    const { directory } = packed
    const { code } = await transformWithOxc(await readFile(join('examples', name), 'utf8'), name)
    const file = join(directory, name.replace(/ts$/, 'mjs'))
    await writeFile(file, code)
    const { stdout, stderr } = await run(process.execPath, [...nodeFlags, file], { cwd: directory })
    expect(stdout).toEqual(typeof expected === 'string' ? expected : expect.stringMatching(expected))
    expect(stderr).toBe('')
  },
  120_000,
)
