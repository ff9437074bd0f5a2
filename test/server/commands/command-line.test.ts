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

describe('help', () => {
  test.each([[['--help']], [['serve', '--help']], [['keys', 'create', '--help']]])(
    '%j goes to stdout and exits 0',
    async args => {
      const { code, stdout, stderr } = await run(args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(/^Usage: aibridge /)
    },
  )

  test('the version is that of package.json', async () => {
    expect(await run(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })
})

test('a reader that has seen enough is no failure', async () => {
  const child = spawn(process.execPath, [program, 'serve', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const [stderr, [code]] = await Promise.all([textOf(child.stderr), once(child, 'close')])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})

describe('a usage error', () => {
  test.each([
    [[], 'a command is missing; see --help'],
    [['users'], 'a command is missing; see --help'],
    [['fly'], "unknown command 'fly'"],
    [['users', 'create'], "missing required argument 'name'"],
    [['users', 'create', 'a', 'b'], 'too many arguments'],
    [['users', 'list', '--colour'], "unknown option '--colour'"],
    [['keys', 'create'], "required option '--user <user>' not specified"],
    [['keys', 'create', '--user', 'a', '--expires', 'soon'], "'soon' is invalid"],
    [['providers', 'add', 'x', '--type', 'abacus'], "'abacus' is invalid"],
    [['interceptions', 'list', '--limit', 'all'], "'all' is invalid"],
  ])('%j', async (args, message) => {
    const result = await run(args)
    expect(result.code).toBe(1)
    expect(failureIn(result)).toEqual({ code: 'BAD_REQUEST', reason: null, message: expect.stringContaining(message) })
  })

  test('a setting is refused with its name and value', async () => {
    const result = await run(['users', 'list', '--port', '70000'])
    expect(result.code).toBe(1)
    expect(failureIn(result)).toEqual({
      code: 'BAD_REQUEST',
      reason: 'config_invalid',
      message: '--port "70000": must be a whole number from 1 to 65535',
    })
  })

  test('an empty provider key is refused before any call', async () => {
    const dataDir = await temporaryDirectory()
    const result = await run(['providers', 'add', 'x', '--key', '-', '--data', dataDir], { input: '\n' })
    expect(failureIn(result)).toMatchObject({ reason: 'config_invalid', message: '--key: is empty' })
    expect(failureIn(await run(['providers', 'add', 'x', '--key-env', 'NOT_SET', '--data', dataDir]))).toMatchObject({
      message: 'environment variable NOT_SET: is not set, or empty',
    })
  })
})

describe('config check', () => {
  test('shows every setting and its source, and no secret', async () => {
    const file = join(await temporaryDirectory(), 'config.json')
    await writeFile(file, JSON.stringify({ port: 4200, databaseUrl: 'postgres://u:MARKED@h/d' }), { mode: 0o644 })
    const env = { BRIDGE_CONFIG: file, BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64') }
    const { code, stdout, stderr } = await run(['config', 'check', '--grace-ms', '5', '--json'], { env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('other users may read it (mode 644)') })
    expect(JSON.parse(stdout)).toEqual(
      expect.arrayContaining([
        { name: 'port', value: 4200, source: `port in ${file}` },
        { name: 'graceMs', value: 5, source: '--grace-ms' },
        { name: 'databaseUrl', value: 'set', source: `databaseUrl in ${file}` },
        { name: 'encryptionKey', value: 'set', source: 'BRIDGE_ENCRYPTION_KEY' },
        { name: 'adminToken', value: null, source: 'not set' },
      ]),
    )
    expect((await run(['config', 'check', 'serve', '--config', file], { env })).stdout).toMatch(
      /^databaseUrl +set +databaseUrl in /m,
    )
  })

  test('of a daemon that cannot start, exits 1 with every problem and no secret', async () => {
    const result = await run(['config', 'check', 'daemon', '--port', 'x', '--key', 'MARKED'])
    expect(result.code).toBe(1)
    expect(failureIn(result)).toMatchObject({
      reason: 'config_invalid',
      message: expect.stringMatching(
        /^(?!.*MARKED)--url: is missing.*; --key: is not a daemon key.*; --port "x": must be/,
      ),
    })
  })
})

describe('without a server', () => {
  test('a command exits 3', async () => {
    const result = await run(['users', 'list', '--data', await temporaryDirectory(), '--port', '1'])
    expect(result.code).toBe(3)
    expect(failureIn(result)).toMatchObject({ code: 'SERVICE_UNAVAILABLE', reason: 'server_unreachable' })
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
