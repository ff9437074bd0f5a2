/** `aibridge audit` against a server that listens. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { addAuditCommands } from '../../../server/commands/audit.js'
import type { AuditPage } from '../../../shared/contract/admin/audit.js'
import { oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

describe('audit list', () => {
  const operator = () => commandLine(store(), addAuditCommands)

  test('audit list is newest first, by actor, action and target, page by page', async () => {
    const { admin, json, print } = await operator()
    const users = []
    for (const username of ['edith', 'rosa']) users.push(await admin.users.create.mutate({ username }))
    const [edith, rosa] = users.map(({ id }) => id)
    await admin.users.setStatus.mutate({ user: 'rosa', status: 'suspended' })
    const mine = ['audit', 'list', '--actor', 'admin', '--action', 'users.create']
    const first = await json<AuditPage>(...mine, '--limit', '1')
    expect(first.entries).toMatchObject([{ target: rosa, details: { username: 'rosa' } }])
    const second = await json<AuditPage>(...mine, '--limit', '1', '--cursor', first.nextCursor ?? '')
    expect(second.entries).toMatchObject([{ target: edith }])
    const shortId = rosa?.slice(-12) ?? ''
    const shown = await print('audit', 'list', '--target', shortId, '--limit', '1')
    expect(await print('audit', 'list', '--target', rosa ?? '', '--limit', '1')).toBe(shown)
    expect(shown).toMatch(
      new RegExp(
        `^TIME .*\\n\\S+Z +admin +users\\.setStatus +${shortId} +rosa +\\{"status":"suspended"\\}\\nmore: --cursor \\S+\\n$`,
      ),
    )
    const { id } = await admin.apiKeys.create.mutate({ user: 'edith' })
    await admin.apiKeys.expire.mutate({ id })
    const ofKey = await json<AuditPage>('audit', 'list', '--target', id)
    expect(ofKey.entries.map(({ action, username }) => [action, username])).toEqual([
      ['apiKeys.expire', 'edith'],
      ['apiKeys.create', 'edith'],
    ])
    await expect(print('audit', 'list', '--action', 'users.make')).rejects.toThrow(
      /'users\.make' is invalid\. Allowed choices are users\.create, .*, secrets\.rotate/,
    )
    expect(await print('audit', 'list', '--actor', 'nobody')).toBe('no entries\n')
    await expect(print('audit', 'list', '--cursor', 'x')).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })
})
