/** The README's first run as a reader would type it, and the example for a bridge that runs. */
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { transformWithOxc } from 'vite'
import { afterAll, expect, test } from 'vitest'
import { cleanUp, dataDirectory, startServe, temporaryDirectory } from './process.js'

afterAll(cleanUp)

interface Step {
  command: string
  /** the lines below the command, as the README shows them */
  output: string
}

/** The commands of the section with their output; the second block is the other terminal. */
function stepsOf(readme: string): Step[] {
  const [, section = ''] = readme.split('\n## First run\n')
  const [, block = ''] = [...section.matchAll(/^```\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text)
  return block
    .split(/^\$ /m)
    .slice(1)
    .map(step => {
      const [command = '', ...lines] = step.trimEnd().split('\n')
      return { command, output: lines.join('\n').trim() }
    })
}

/**
 * Values that differ from run to run: ids, their short forms, times, durations, and the length of a text that names the
 * data directory.
 */
const changing =
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|msg_demo_[0-9a-f]{32}|\b[0-9a-f]{12}\b|(?<=, output )\d+|\d+\.\d\d s/g

/** A pattern for output as the README shows it: `…` stands for any text, and each changing value is a group. */
function patternOf(output: string): { pattern: RegExp; values: string[] } {
  const values = output.match(changing) ?? []
  const source = output
    .split(changing)
    .map(text => text.split(/ *… */).map(escaped).join('[\\s\\S]*'))
    .join('(\\S+(?: s)?)')
    .replace(/ {2,}/g, ' +') // columns are as wide as their values
  return { pattern: new RegExp(`^${source}\\s*$`), values }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

test('the first run of the README prints what the README shows, and the example for SDKs gets a response', async () => {
  const steps = stepsOf(await readFile('README.md', 'utf8'))
  expect(steps.length).toBeGreaterThan(3)
  const server = await startServe(await dataDirectory())
  const directory = await temporaryDirectory()
  const environment = { ...process.env, BRIDGE_DATA: server.dataDir, BRIDGE_PORT: server.port, HOME: directory }
  const exports = join(directory, 'exports')
  await writeFile(exports, '')
  const sh = async (command: string): Promise<string> => {
    const script = `. ${exports}\n${command.replaceAll(':4100', `:${server.port}`)}\nexport -p > ${exports}`
    const { stdout } = await promisify(execFile)('bash', ['-ec', script], { env: environment })
    return stdout
  }

  /** value in the README → value of this run */
  const seen = new Map<string, string>()
  for (const { command, output } of steps) {
    const actual = await sh(command.replace(changing, value => seen.get(value) ?? value))
    const { pattern, values } = patternOf(output)
    const match = pattern.exec(actual)
    expect(match, `${command}\n${actual}\ndoes not look like\n${output}`).not.toBeNull()
    for (const [index, value] of values.entries()) seen.set(value, match?.[index + 1] ?? '')
  }

  // Below the working directory, where the SDKs are installed.
  const file = join('dist', 'sdk-over-http.mjs')
  const { code } = await transformWithOxc(await readFile('examples/sdk-over-http.ts', 'utf8'), 'sdk-over-http.ts')
  await writeFile(file, code)
  try {
    expect(await sh(`AIBRIDGE_URL=http://127.0.0.1:4100/bridge node ${file}`)).toContain('“Hello”')
  } finally {
    await rm(file)
  }
})
