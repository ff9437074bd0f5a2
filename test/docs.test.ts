/** What documents claim and a program can check: links, paths, quoted code, tables and messages. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { createBridgeMetrics } from '../client/bridge/metrics/prometheus.js'
import { failureOf } from '../server/commands/common/failure.js'
import { createServerMetrics } from '../server/metrics/prometheus.js'
import { type AcpReasonInfo, acpReasons } from '../shared/acp/errors.js'
import { acpClientLimits, acpClientTimes, acpServerLimits, acpServerTimes } from '../shared/acp/limits.js'
import { serviceCloseCodes } from '../shared/contract/close-codes.js'
import { errorReasons, rpcError } from '../shared/contract/error-reasons.js'
import { closeCodes } from '../shared/rpc/duplex.js'
import { errorCodes, type ReasonInfo } from '../shared/rpc/errors.js'
import { connectionLimits } from '../shared/rpc/limits.js'

/** Every file of the project that is no build output, as a path from the top. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter(path => path !== '' && existsSync(path))
const sourceTexts = files
  .filter(path => /^(server|client|shared)\/.*\.[jt]s$/.test(path))
  .map(path => readFileSync(path, 'utf8'))
const documents = files.filter(path => path.endsWith('.md'))
const textOf = (path: string): string => readFileSync(path, 'utf8')

/** A document without its code blocks. */
function prose(path: string): string {
  return textOf(path).replace(/^```[\s\S]*?^```/gm, '')
}

/** The anchors of a document, made of its headings as GitHub makes them. */
function anchorsOf(path: string): Set<string> {
  return new Set(
    [...prose(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

describe.each(documents)('%s', document => {
  const links = [...prose(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)

  test('its links lead to files and headings that exist', () => {
    const broken = links.filter(link => {
      if (/^(https?|mailto):/.test(link)) return false
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? document : posix.join(posix.dirname(document), path)
      if (!existsSync(target)) return true
      return anchor !== undefined && !anchorsOf(target).has(anchor)
    })
    expect(broken).toEqual([])
  })

  test('its TypeScript is quoted from the examples', () => {
    const blocks = [...textOf(document).matchAll(/(?:<!-- example: (\S+)#(\S+) -->\n)?```ts\n([\s\S]*?)```/g)]
    for (const [, file, region, code] of blocks) {
      expect(file, `a block without <!-- example: FILE#REGION -->:\n${code}`).toBeDefined()
      expect(code).toBe(regionOf(`examples/${file}`, region ?? ''))
    }
  })
})

/** The lines between `// #region NAME` and `// #endregion`. */
function regionOf(path: string, name: string): string {
  const [, region] = new RegExp(`^// #region ${name}\\n([\\s\\S]*?)^// #endregion`, 'm').exec(textOf(path)) ?? []
  if (region === undefined) throw new Error(`${path} has no region ${name}`)
  return region
}

test('the README is no longer than 150 lines', () => {
  expect(textOf('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(150)
})

test('the README and the table in docs lead to every page in docs', () => {
  const pages = readdirSync('docs').filter(name => name.endsWith('.md') && name !== 'README.md')
  for (const page of pages) {
    expect(textOf('docs/README.md'), page).toContain(`](${page})`)
    expect(textOf('README.md'), page).toContain(`](docs/${page})`)
  }
})

test('the table of rooms in ARCHITECTURE.md names every room of the sources', () => {
  const rows = textOf('ARCHITECTURE.md').match(/^\| `.*$/gm) ?? []
  const rooms = new Set(files.filter(path => /^(server|client|shared|bench)\/.*\//.test(path)).map(posix.dirname))
  expect(rooms.size).toBeGreaterThan(30)
  expect([...rooms].filter(room => !rows.some(row => row.includes(`\`${room}/\``)))).toEqual([])
})

test('the examples’ table names every example', () => {
  const programs = readdirSync('examples').filter(name => name.endsWith('.ts'))
  expect(programs.filter(name => !textOf('examples/README.md').includes(`](${name})`))).toEqual([])
})

describe.each(['ARCHITECTURE.md', 'CONTRIBUTING.md'])('%s', document => {
  const folders = ['server', 'client', 'shared', 'test', 'bench', 'docs', 'examples', 'findings', 'scripts']

  test('names only paths that exist', () => {
    const names = [...prose(document).matchAll(/`([^`\s]+)`/g)].map(([, name = '']) => name)
    const paths = names.filter(name => folders.includes(name.split('/')[0] ?? '') && /\/|\.[jt]s$/.test(name))
    const fileNames = names.filter(name => /^[a-z0-9-]+(\.[a-z-]+)*\.[jt]s$/.test(name))
    expect(paths.length + fileNames.length).toBeGreaterThan(5)
    expect(paths.filter(path => !/[<>*]|NAME/.test(path) && !existsSync(path))).toEqual([])
    expect(fileNames.filter(name => !files.some(path => posix.basename(path) === name))).toEqual([])
  })
})

/** Documents of users' projects, which AI clients quote in their requests. */
const ofClients = ['AGENTS.md']

test('no file names a document that the project does not have', () => {
  const known = new Set([...documents.map(path => posix.basename(path)), ...ofClients])
  const named = files
    .filter(path => /\.([jt]s|md|json|sh|ya?ml)$/.test(path) && path !== 'package-lock.json')
    .flatMap(path => [...textOf(path).matchAll(/\b([A-Z][A-Z_]+\.md)\b/g)].map(([, name = '']) => ({ path, name })))
  expect(named.filter(({ name }) => !known.has(name))).toEqual([])
})

/** The cells of the table that stands below a marker, without the heading; backticks are cut off. */
function tableOf(document: string, marker: string): string[][] {
  const [, below = ''] = textOf(document).split(`<!-- table: ${marker} -->\n`)
  const [table = ''] = below.split('\n\n')
  return table
    .trimEnd()
    .split('\n')
    .slice(2)
    .map(row =>
      row
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map(cell => cell.trim().replaceAll('`', '')),
    )
}

describe('docs/errors.md', () => {
  test('lists every code with its HTTP status and whether a repeat may help', () => {
    const rows = tableOf('docs/errors.md', 'codes').map(row => row.slice(0, 3))
    const codes = Object.entries(errorCodes)
    expect(rows).toEqual(codes.map(([code, { status, retry }]) => [code, String(status), retry ? 'yes' : 'no']))
  })

  test('lists every reason with its code', () => {
    const rows = tableOf('docs/errors.md', 'reasons').map(row => row.slice(0, 2))
    const reasons = Object.entries<ReasonInfo>(errorReasons)
    expect(rows).toEqual(reasons.map(([reason, { code = 'several' }]) => [reason, code]))
  })

  test('lists every reason of the Agent Client Protocol with its status and code', () => {
    const rows = tableOf('docs/errors.md', 'acp reasons').map(row => row.slice(0, 3))
    const reasons = Object.entries<AcpReasonInfo>(acpReasons).map(([reason, { code, status }]) => {
      return [reason, String(status ?? (code === undefined ? 'several' : errorCodes[code].status)), code ?? 'several']
    })
    expect(rows).toEqual(reasons)
  })

  test('lists the exit codes of failed commands', () => {
    const exitCodes = tableOf('docs/errors.md', 'exit codes').map(([code]) => Number(code))
    const thrown = [
      rpcError('server_unreachable', 'no server'),
      rpcError('unknown_row', 'no row'),
      new Error('a fault'),
    ]
    expect(thrown.map(error => failureOf(error).exitCode)).toEqual([3, 1, 1])
    expect(exitCodes).toEqual([0, 1, 3, 130])
    expect(textOf('server/process/stop-signals.ts')).toContain('process.exit(130)')
  })

  test('lists every close code', () => {
    const rows = tableOf('docs/errors.md', 'close codes').map(([code]) => Number(code))
    const codes = Object.values({ ...closeCodes, ...serviceCloseCodes })
    expect(rows).toEqual(codes.sort((a, b) => a - b))
  })
})

test.each([
  ['acp limits', { ...acpServerLimits, ...acpServerTimes }],
  ['acp client limits', { ...acpClientLimits, ...acpClientTimes }],
])('docs/acp.md lists every one of the %s with its default', (table, limits) => {
  const shown = Object.entries(limits).map(([name, value]) => {
    if (name.endsWith('Ms')) return [name, `${value.toLocaleString('en')} ms`]
    return [name, name.endsWith('Bytes') ? `${value / 1024 ** 2} MiB` : value.toLocaleString('en')]
  })
  expect(tableOf('docs/acp.md', table).map(row => row.slice(0, 2))).toEqual(shown)
})

test('docs/transport.md lists the limits of a connection with their defaults', () => {
  const rows = tableOf('docs/transport.md', 'limits')
  for (const [name, limit] of Object.entries(connectionLimits)) {
    const [, preset] = rows.find(([option]) => option?.startsWith(name)) ?? []
    const shown = name.endsWith('Bytes') ? `${limit / 1024 ** 2} MiB` : limit.toLocaleString('en')
    expect(preset, name).toMatch(new RegExp(`^${shown}\\b`))
  }
})

test('docs/operations.md lists every metric with its labels', async () => {
  const texts = await Promise.all([createServerMetrics().text(), createBridgeMetrics().text()])
  const names = texts.flatMap(text => [...text.matchAll(/^# HELP ((?:rpc|bridge)_\S+)/gm)].map(([, name = '']) => name))
  const listed = [...textOf('docs/operations.md').matchAll(/^\| `((?:rpc|bridge)_[a-z_]+)/gm)].map(([, name]) => name)
  expect(names.length).toBeGreaterThan(10)
  expect(listed.sort()).toEqual(names.sort())
})

describe('docs/commands.md', async () => {
  const page = textOf('docs/commands.md')
  const blocks = page.split(/\n(?! )/)
  const leaves = leavesOf(await programOf('server/commands'))

  test.each(leaves.map(({ words, options }) => [words.join(' '), words, options] as const))(
    'docs/commands.md has %s with its options',
    (_name, [first = '', ...rest], options) => {
      const second = rest.join(' ')
      const hasRest = (text: string) => rest.every(word => new RegExp(`(?<!-)\\b${word}\\b`).test(text))
      const row =
        blocks.find(block => block.startsWith(`| \`aibridge ${first}`) && hasRest(block.split(' | ')[0] ?? '')) ?? ''
      expect(row).not.toBe('')
      const others = blocks.filter(block => block.includes(`\`${first}${second && ` ${second}`}\` takes`))
      expect(options.filter(option => ![row, ...others].some(text => text.includes(option)))).toEqual([])
    },
  )
})

/** The command line, put together from every file of the folder that adds commands. */
async function programOf(folder: string): Promise<Command> {
  const program = new Command('aibridge')
  for (const name of readdirSync(folder).filter(name => name.endsWith('.ts') && name !== 'main.ts')) {
    const module: Record<string, unknown> = await import(`../${folder}/${name}`)
    for (const [key, add] of Object.entries(module)) {
      if (/^add\w+Commands?$/.test(key) && typeof add === 'function') add(program)
    }
  }
  return program
}

/** Options that are described once for all commands, or on the page of the settings. */
const common = new Set(['--data', '--host', '--port', '--url', '--ca', '--json', '--config', '--database-url'])

/** The commands without commands below; those whose options are settings have none here. */
function leavesOf(command: Command, above: readonly string[] = []): { words: string[]; options: string[] }[] {
  return command.commands.flatMap(below => {
    const words = [...above, below.name()]
    if (below.commands.length > 0) return leavesOf(below, words)
    const options = below.options.flatMap(({ long, hidden }) => (long && !hidden ? [long] : []))
    const [first = ''] = words
    const hasSettings = ['serve', 'daemon', 'config'].includes(first)
    const once = first === 'chats' ? new Set([...common, '--key', '--key-file']) : common
    return [{ words, options: hasSettings ? [] : options.filter(option => !once.has(option)) }]
  })
}

describe('docs/troubleshooting.md', () => {
  const sources = sourceTexts.join('\n')
  const messages = [...textOf('docs/troubleshooting.md').matchAll(/^> `(.+)`$/gm)].map(([, message = '']) => message)

  test('docs/troubleshooting.md has messages', () => {
    expect(messages.length).toBeGreaterThan(30)
  })

  test.each(messages)('%s', message => {
    const pieces = message.split('…').map(piece => piece.replace(/\\/g, '').trim())
    expect(pieces.filter(piece => !sources.includes(piece))).toEqual([])
  })
})
