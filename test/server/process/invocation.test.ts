import { describe, expect, test } from 'vitest'
import { invocation, shellWord } from '../../../server/process/invocation.js'

describe('invocation', () => {
  test.each([
    ['/home/a/aibridge/dist/server/cli.js', '/home/a/aibridge', 'node dist/server/cli.js'],
    ['/home/a/aibridge/dist/server/cli.js', '/home/a', 'node aibridge/dist/server/cli.js'],
    ['/home/a/aibridge/dist/server/cli.js', '/tmp', 'node /home/a/aibridge/dist/server/cli.js'],
    ["/home/it's a/cli.js", '/tmp', "node '/home/it'\\''s a/cli.js'"],
    ['/usr/local/bin/aibridge', '/tmp', 'aibridge'],
    ['/home/a/project/node_modules/.bin/aibridge', '/home/a/project', 'npx aibridge'],
    ['/home/a/.npm/_npx/1f/node_modules/.bin/aibridge', '/tmp', '/home/a/.npm/_npx/1f/node_modules/.bin/aibridge'],
  ])('%s run in %s is called %s', (path, cwd, words) => {
    const searchPath = '/home/a/.npm/_npx/1f/node_modules/.bin:/usr/local/bin:/usr/bin'
    expect(invocation(path, cwd, searchPath)).toBe(words)
  })

  test('an empty word is quoted', () => {
    expect(shellWord('')).toBe("''")
  })
})
