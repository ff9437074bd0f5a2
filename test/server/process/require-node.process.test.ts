import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { program, textOf } from '../../e2e/process.js'

test('the program on an old Node prints the sentence alone and exits 1', async () => {
  const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } })"
  const child = spawn(process.execPath, [
    `--import=data:text/javascript,${encodeURIComponent(pretend)}`,
    program,
    'users',
  ])
  const [stdout, stderr, [code]] = await Promise.all([textOf(child.stdout), textOf(child.stderr), once(child, 'close')])
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/^aibridge needs Node\.js .* this is 18\.20\.4: .*\n$/)
})
