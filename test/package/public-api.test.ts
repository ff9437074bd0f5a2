/**
 * The public names of the package, from the declarations that the compiler emits: what changes in them is seen in a
 * review, since the reports beside this file are compared. `npm run api` writes them anew.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EmittedDeclarations, type PublicName } from './declarations.js'

/** The folders of the entry points. `client/browser` is `aibridge/client` under the condition `browser`. */
const entries = ['server', 'client', 'client/browser', 'shared'] as const

/** Types that public declarations name and that are not exported, each with the reason. */
const unexported = new Map([
  [
    'server/routers/trpc.d.ts#Context',
    'the context of AppRouter, which only the server makes; a client has no use for it',
  ],
])

const names = new Map<string, PublicName[]>()
let root: string

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'aibridge-declarations-'))
  const flags = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', root]
  await promisify(execFile)(process.execPath, ['node_modules/typescript/bin/tsc', ...flags])
  const declarations = new EmittedDeclarations(root)
  for (const entry of entries) names.set(entry, declarations.publicNames(`${entry}/index.d.ts`))
}, 300_000)

afterAll(() => rm(root, { recursive: true, force: true }))

describe.each(entries)('aibridge/%s', entry => {
  test('an entry point has the public names of its report, which `npm run api` writes anew', async () => {
    const help = 'the public API has changed: see that it should, then write the report anew with `npm run api`'
    await expect(reportOf(entry), help).toMatchFileSnapshot(`${entry.replace('/', '-')}.api.txt`)
  })

  test('an entry point has a docstring for every public name', () => {
    expect(namesOf(entry).flatMap(({ name, isDocumented }) => (isDocumented ? [] : [name]))).toEqual([])
  })
})

test('the types in public declarations are public too', () => {
  const all = entries.flatMap(entry => namesOf(entry))
  const exported = new Set(all.map(({ file, declaredName }) => `${file}#${declaredName}`))
  const missing = all.flatMap(({ name, references }) =>
    references
      .filter(reference => !exported.has(reference) && !unexported.has(reference))
      .map(reference => `${name} names ${reference}`),
  )
  expect(missing).toEqual([])
})

function namesOf(entry: string): PublicName[] {
  const found = names.get(entry)
  if (!found) throw new Error(`${entry} was not read`)
  return found
}

function reportOf(entry: string): string {
  const declarations = namesOf(entry).map(({ name, declaredName, isTypeOnly, text }) => {
    const note = [
      isTypeOnly && text.startsWith('declare') && 'type only',
      declaredName !== name && `declared as ${declaredName}`,
    ].filter(Boolean)
    return `${note.length > 0 ? `// ${name}: ${note.join(', ')}\n` : ''}${text}`
  })
  return `// The public names of aibridge/${entry}. \`npm run api\` writes this file, and \`npm run check\` compares it with the sources.

${declarations.join('\n\n')}
`
}
