import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { cleanUp, temporaryDirectory } from '../../e2e/process.js'
import { runWords } from './command-line.js'

afterEach(async () => {
  vi.unstubAllEnvs()
  await cleanUp()
})

/** The one line of JSON that a failed command leaves on stderr. */
function failureIn({ stderr, stdout }: { stderr: string; stdout: string }): unknown {
  expect(stdout).toBe('')
  expect(stderr).toMatch(/^\{.*\}\n$/)
  return JSON.parse(stderr)
}

describe('help', () => {
  test.each([[['--help']], [['serve', '--help']], [['keys', 'create', '--help']]])(
    '%j goes to stdout, and the exit code is 0',
    async words => {
      const { code, stdout, stderr } = await runWords(words)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(/^Usage: aibridge /)
    },
  )

  test.each([
    [[], 'serve [options]'],
    [['users'], 'create [options] <name>'],
    [['config'], 'check'],
  ])(
    '%j, a command without its last word, prints its help; the exit code is 1, as after any usage error',
    async (words, line) => {
      const { code, stdout, stderr } = await runWords(words)
      expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
      expect(stdout).toMatch(/^Usage: aibridge /)
      expect(stdout).toContain(`\n  ${line} `)
    },
  )

  test('the version is that of package.json', async () => {
    expect(await runWords(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })

  test('a setting is shown with its variables and its default', async () => {
    const { stdout } = await runWords(['serve', '--help'])
    const text = stdout.replace(/\s+/g, ' ')
    expect(text).toContain('--data <dir> data directory of the server; BRIDGE_DATA (default: ~/.aibridge)')
    expect(text).toContain('; BRIDGE_DATABASE_URL or DATABASE_URL')
    expect(text).toMatch(/--no-content record no .*; BRIDGE_CONTENT=false /)
    expect(text).not.toMatch(/--content|--admin-token|--encryption-key/)
  })
})

describe('a usage error', () => {
  test.each([
    [['fly'], "unknown command 'fly'"],
    [['user', 'list'], "unknown command 'user' (Did you mean users?)"],
    [['users', 'create'], "missing required argument 'name'"],
    [['users', 'create', 'a', 'b'], 'Expected 1 argument but got 2; see: '],
    [['users', 'list', '--colour'], "unknown option '--colour'"],
    [['keys', 'create'], "required option '--user <user>' not specified; see: "],
    [['keys', 'create', '--user', 'a', '--expires', 'soon'], "'soon' is invalid"],
    [['providers', 'add', 'x', '--type', 'abacus'], "'abacus' is invalid"],
    [['interceptions', 'list', '--limit', 'all'], "'all' is invalid. It must be a whole number; see: "],
    // A misspelt option is named before the one that is missing because of that.
    [['keys', 'create', '--usr', 'ada'], "unknown option '--usr' (Did you mean --user?); see: "],
    [['import', '--form', 'x'], "unknown option '--form' (Did you mean --from?)"],
    [['import'], "required option '--from <dir>' not specified"],
  ])('%j', async (words, message) => {
    const result = await runWords(words)
    expect(result.code).toBe(1)
    expect(failureIn(result)).toEqual({
      code: 'BAD_REQUEST',
      reason: null,
      message: expect.stringContaining(message),
      mayHaveRun: null,
    })
  })

  test('names the help of the command', async () => {
    const { stderr } = await runWords(['keys', 'create', '--usr', 'ada'], { isTerminal: true })
    expect(stderr).toMatch(/^error: unknown option '--usr' \(Did you mean --user\?\); see: .* keys create --help\n$/)
  })
})

describe('a failure', () => {
  const words = ['users', 'list', '--port', '70000']
  const message = '--port "70000": must be a whole number from 1 to 65535'

  test('a failure is JSON where stderr is no terminal, and with --json', async () => {
    for (const result of [await runWords(words), await runWords([...words, '--json'], { isTerminal: true })]) {
      expect(result.code).toBe(1)
      expect(failureIn(result)).toEqual({
        code: 'BAD_REQUEST',
        reason: 'config_invalid',
        message,
        mayHaveRun: null,
      })
    }
  })

  test('a failure is text with its reason on a terminal', async () => {
    expect(await runWords(words, { isTerminal: true })).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: ${message} (config_invalid)\n`,
    })
  })

  test('a failure shows no secret and steers no terminal', async () => {
    const { stderr } = await runWords(['users', 'list', '--data', '\u001b[2J', '--host', 'a b sk-MARKED-MARKED'], {
      isTerminal: true,
    })
    expect(stderr).toContain('--host "a b sk-[secret]": must be a host name')
    expect(stderr).not.toContain('\u001b')
  })
})

describe('config check', () => {
  test('config check prints the settings, then the files in use; as JSON one list', async () => {
    const data = await temporaryDirectory()
    const file = join(data, 'config.json')
    await writeFile(file, JSON.stringify({ port: 4200, databaseUrl: 'postgres://u:MARKED@h/d' }), { mode: 0o644 })
    vi.stubEnv('BRIDGE_ENCRYPTION_KEY', Buffer.alloc(32, 7).toString('base64'))
    const words = ['config', 'check', '--config', file, '--data', data]
    const text = await runWords(words)
    expect(text).toMatchObject({ code: 0, stderr: expect.stringContaining('other users may read it (mode 644)') })
    expect(text.stdout).toMatch(/^databaseUrl +set +databaseUrl in /m)
    expect(text.stdout).toContain(`\n\nFILE ${' '.repeat(data.length)}`)
    expect(text.stdout).toMatch(/config\.json +mode 644\n.*admin-token +missing; serve makes it at the first start\n$/)
    const json = await runWords([...words, '--json'])
    expect(JSON.parse(json.stdout)).toContainEqual({ name: 'port', value: 4200, source: `port in ${file}`, file: null })
    expect(text.stdout + json.stdout).not.toContain('MARKED')
  })

  test('config check of a daemon that cannot start, fails with every problem and no secret', async () => {
    const result = await runWords(['config', 'check', 'daemon', '--port', 'x', '--key', 'MARKED'])
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
    const result = await runWords(['users', 'list', '--data', await temporaryDirectory(), '--port', '1'])
    expect(result.code).toBe(3)
    expect(failureIn(result)).toMatchObject({ code: 'SERVICE_UNAVAILABLE', reason: 'server_unreachable' })
  })
})
