/** The README's example of the transport, as a user would run it: from the built package, by its public names. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { transformWithOxc } from 'vite'
import { expect, test } from 'vitest'
import { textOf } from './process.js'

test('the transport alone: the example of the README serves and calls a router on both links, and ends', async () => {
  const readme = await readFile('README.md', 'utf8')
  const [, example = ''] = /## The transport alone[\s\S]*?```ts\n([\s\S]*?)```/.exec(readme) ?? []
  expect(example).toContain('serveWebSockets')
  const { code } = await transformWithOxc(example.replaceAll('4200', String(await freePort())), 'example.ts')
  // Inside the package, where its own name leads to what was built.
  const file = join('dist', 'readme-example.mjs')
  await writeFile(file, code)
  try {
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'pipe'] })
    const [stdout, stderr, [exitCode]] = await Promise.all([
      textOf(child.stdout),
      textOf(child.stderr),
      once(child, 'close'),
    ])
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'hello\nhello\n', stderr: '', exitCode: 0 })
  } finally {
    await rm(file)
  }
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  server.close()
  await once(server, 'close')
  return port
}
