/** The program as a process: its streams and its exit code. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { cleanUp, program, run, temporaryDirectory, textOf } from '../../e2e/process.js'

afterEach(cleanUp)

/** The one line of JSON that a failed command leaves on stderr. */
function failureIn({ stderr, stdout }: { stderr: string; stdout: string }): unknown {
  expect(stdout).toBe('')
  expect(stderr).toMatch(/^\{.*\}\n$/)
  return JSON.parse(stderr)
}

describe('the program as a process', () => {
  test('the program as a process prints its help and exits 0', async () => {
    const { code, stdout, stderr } = await run(['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Usage: aibridge /)
  })

  test('the program as a process prints a failure as JSON where stderr is no terminal, and exits 1', async () => {
    const result = await run(['fly'])
    expect(result.code).toBe(1)
    expect(failureIn(result)).toMatchObject({ message: expect.stringContaining("unknown command 'fly'") })
  })

  test('the program as a process ends without a failure when its reader has seen enough', async () => {
    const child = spawn(process.execPath, [program, 'serve', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    const [stderr, [code]] = await Promise.all([textOf(child.stderr), once(child, 'close')])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  test('an empty provider key is rejected before any call', async () => {
    const dataDir = await temporaryDirectory()
    const result = await run(['providers', 'add', 'x', '--key', '-', '--data', dataDir], { input: '\n' })
    expect(failureIn(result)).toMatchObject({ reason: 'config_invalid', message: '--key: is empty' })
    expect(failureIn(await run(['providers', 'add', 'x', '--key-env', 'NOT_SET', '--data', dataDir]))).toMatchObject({
      message: 'environment variable NOT_SET: is not set, or empty',
    })
  })

  test('a data directory that cannot be used is named', async () => {
    const file = join(await temporaryDirectory(), 'file')
    await writeFile(file, '')
    const result = await run(['serve', '--port', '0', '--data', join(file, 'x')])
    expect(result.code).toBe(1)
    expect(failureIn(result)).toMatchObject({
      reason: 'config_invalid',
      message: expect.stringContaining(`--data "${join(file, 'x')}": cannot be used`),
    })
  })
})
