import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { maskSecrets } from '../../../shared/values/mask-secrets.js'

const secret = 'MARKEDMARKEDMARKEDMARK'
const key = `abcdefghij-${secret}`

describe('a secret is masked', () => {
  test.each([
    [`the key ${key} is not valid`, 'the key abcdefghij-[secret] is not valid'],
    [`"${key}"`, '"abcdefghij-[secret]"'],
    ['Incorrect API key provided: sk-proj-MARKED_1-2.', 'Incorrect API key provided: sk-[secret].'],
    ['authorization: bearer MARKED.MARKED/MARKED+0=', 'authorization: bearer [secret]'],
    ['Basic dXNlcjpNQVJLRUQ=', 'Basic [secret]'],
    ['postgres://user:MARKED@db:5432/x failed', 'postgres://user:[secret]@db:5432/x failed'],
    ["'postgresql://user:MA@RK:ED@db/x'", "'postgresql://user:[secret]@db/x'"],
    ['redis://:MARKED@cache', 'redis://:[secret]@cache'],
    // Passwords that only begin or end like a template's word.
    ['postgres://u:PASSWORD1@db', 'postgres://u:[secret]@db'],
    ['postgres://u:MyPASSWORD@db', 'postgres://u:[secret]@db'],
    ['postgres://u:PASSWORD@MARKED@db', 'postgres://u:[secret]@db'],
    ['postgres://u:password@db', 'postgres://u:[secret]@db'],
  ])('%s', (text, masked) => {
    expect(maskSecrets(text)).toBe(masked)
    expect(maskSecrets(masked)).toBe(masked)
  })
})

describe('a text without a secret stays', () => {
  test.each([
    '0198c5d4-0000-7000-8000-000000000001',
    'Authorization must be: Bearer KEY',
    'Bearer authentication is required',
    'a risk-averse task-force',
    'http://127.0.0.1:4100/bridge/demo?to=a@b',
    'http://[::1]:4100/rpc',
    'sk-a…wxyz',
    // Templates.
    'must be postgres://USER:PASSWORD@HOST:PORT/DATABASE',
    'postgresql://USER:PASS@HOST',
    'postgres://aibridge:…@db.example.com/aibridge',
    'postgres://aibridge:...@db.example.com/aibridge',
    'postgres://aibridge:***@db.example.com/aibridge',
    'postgres://aibridge:<password>@db.example.com/aibridge',
  ])('%s', text => {
    expect(maskSecrets(text)).toBe(text)
  })

  test('the texts of the program and of its documents', () => {
    const files = ['README.md', ...['server', 'client', 'docs'].flatMap(filesBelow)]
    const masked = files.flatMap(file =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter(line => maskSecrets(line) !== line)
        .map(line => `${file}: ${line.trim()}`),
    )
    expect(masked).toEqual([])
  })
})

test('a given secret is masked whatever it looks like', () => {
  expect(maskSecrets('a plain+word, a plain+word', ['plain+word', '', 'short'])).toBe('a [secret], a [secret]')
})

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => /\.(ts|md)$/.test(name))
    .map(name => join(folder, name))
}
