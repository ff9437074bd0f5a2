import { describe, expect, test } from 'vitest'
import { sealProviderKey } from '../../../../server/services/admin/providers/provider-keys.js'
import { createSecretRotation, type SecretRotationOptions } from '../../../../server/services/admin/secret-rotation.js'
import { createSecretBox, providerKeyPlace, type SecretBox } from '../../../../server/services/secrets.js'
import type { Store } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'
import { deferred, oneStore, recordingLogger, rejectionOf } from '../running-server.js'

const [oldKey, newKey, foreignKey] = [1, 2, 3].map(value => new Uint8Array(32).fill(value)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

describe.each(stores)('the rotation of secrets: $name', ({ open }) => {
  const store = oneStore({ open })

  function rotation(secrets: SecretBox, options: Partial<SecretRotationOptions> = {}) {
    const logger = recordingLogger()
    return { ...createSecretRotation({ store: store(), secrets, logger, ...options }), logger }
  }
  async function addProvider(
    name: string,
    keys: string[],
    secrets: SecretBox,
    into: Pick<Store, 'upsertProvider'> = store(),
  ) {
    await into.upsertProvider({
      name,
      type: 'anthropic',
      enabled: true,
      baseUrl: 'https://h',
      settings: null,
      keys: keys.map(key => sealProviderKey(secrets, key, name)),
    })
  }
  /** The stored keys that a box opens. */
  async function readable(secrets: SecretBox): Promise<string[]> {
    const found: string[] = []
    for (const { name, keys } of await store().listProviders()) {
      for (const { id, sealed } of keys) {
        try {
          found.push(secrets.open(sealed, providerKeyPlace(name, id)))
        } catch {
          // Sealed by another key.
        }
      }
    }
    return found.sort()
  }
  const reset = async () => {
    for (const { name } of await store().listProviders()) await store().removeProvider(name)
  }

  test('seals anew what is not under the first key, in batches, and a second time nothing', async () => {
    await reset()
    const secrets = createSecretBox([newKey, oldKey])
    const keys = Array.from({ length: 401 }, (_, index) => `key-${index}`)
    await addProvider('many', keys, createSecretBox([oldKey]))
    await addProvider('new', ['new'], secrets)
    await addProvider('foreign', ['foreign'], createSecretBox([foreignKey]))
    const { rotate, logger } = rotation(secrets)
    const counts = { rotated: 401, kept: 1, unreadable: 1 }
    expect(await rotate('ada')).toEqual({ ...counts, oldKey: 'configured' })
    expect(await readable(createSecretBox([newKey]))).toEqual([...keys, 'new'].sort())
    expect(await readable(createSecretBox([foreignKey]))).toEqual(['foreign'])
    expect(logger.lines).toMatchObject([
      { level: 'warn', fields: { place: ['provider-key', 'foreign', expect.any(String)] } },
    ])
    const entries = await store().listAudit({ limit: 10, action: 'secrets.rotate', actor: 'ada' })
    // 403 secrets are three pages.
    expect(entries.map(({ target }) => target)).toEqual(['providerKey', 'providerKey', 'providerKey'])
    expect(entries.reduce((sum, { details }) => sum + Number(details?.rotated), 0)).toBe(401)
    expect(await rotate('ada')).toEqual({ rotated: 0, kept: 402, unreadable: 1, oldKey: 'configured' })
    expect(await store().listAudit({ limit: 10, action: 'secrets.rotate', actor: 'ada' })).toHaveLength(entries.length)
  })

  test('a rotation with one configured key says that there is none to change to', async () => {
    await reset()
    const secrets = createSecretBox([oldKey])
    await addProvider('one', ['one'], secrets)
    expect(await rotation(secrets).rotate('ada')).toEqual({ rotated: 0, kept: 1, unreadable: 0, oldKey: 'none' })
  })

  test('a rotation never overwrites what is changed meanwhile, and seals that anew too', async () => {
    await reset()
    const before = createSecretBox([oldKey])
    await addProvider('a', ['first'], before)
    await addProvider('b', ['stays'], before)
    let changes = 1
    const { rotate } = rotation(createSecretBox([newKey, oldKey]), {
      store: {
        ...store(),
        async listSecrets(query) {
          const page = await store().listSecrets(query)
          // Another server, which has the old key only.
          if (changes-- > 0) await addProvider('a', ['second'], before)
          return page
        },
      },
    })
    expect(await rotate('ada')).toEqual({ rotated: 2, kept: 0, unreadable: 0, oldKey: 'configured' })
    expect(await readable(createSecretBox([newKey]))).toEqual(['second', 'stays'])
  })

  test('a rotation gives up where secrets change without end', async () => {
    await reset()
    const before = createSecretBox([oldKey])
    await addProvider('a', ['a'], before)
    const { rotate } = rotation(createSecretBox([newKey, oldKey]), {
      store: {
        ...store(),
        async listSecrets(query) {
          const page = await store().listSecrets(query)
          await addProvider('a', ['a'], before)
          return page
        },
      },
    })
    expect(await rejectionOf(rotate('ada'))).toMatchObject({ code: 'CONFLICT' })
    expect(await readable(before)).toEqual(['a'])
  })

  describe('of a server with keys of its own', () => {
    /** What a key file does: two keys from the begin, one from the end. */
    function keyFile() {
      let kept = [oldKey]
      return {
        kept: () => kept,
        rotateKeys: async () => {
          if (kept.length === 1) kept = [newKey, oldKey]
          return {
            keys: kept,
            finish: async () => {
              kept = [newKey]
            },
          }
        },
      }
    }

    test('the rotation of a server with keys of its own ends with the new key alone, in the file and in the server', async () => {
      await reset()
      const secrets = createSecretBox([oldKey])
      await addProvider('a', ['a', 'b'], secrets)
      const file = keyFile()
      const { rotate } = rotation(secrets, { rotateKeys: file.rotateKeys })
      const [first, second] = await Promise.all([rotate('ada'), rotate('grace')])
      expect(first).toEqual({ rotated: 2, kept: 0, unreadable: 0, oldKey: 'removed' })
      expect(second).toBe(first)
      expect(file.kept()).toEqual([newKey])
      expect(secrets.keyCount).toBe(1)
      expect(await readable(secrets)).toEqual(['a', 'b'])
      const [last] = await store().listAudit({ limit: 1, action: 'secrets.rotate' })
      expect(last).toMatchObject({ actor: 'ada', target: null, details: first })
    })

    test('the rotation of a server with keys of its own keeps the old key while something is unreadable', async () => {
      await reset()
      const secrets = createSecretBox([oldKey])
      await addProvider('a', ['a'], secrets)
      await addProvider('foreign', ['foreign'], createSecretBox([foreignKey]))
      const file = keyFile()
      const { rotate } = rotation(secrets, { rotateKeys: file.rotateKeys })
      expect(await rotate('ada')).toEqual({ rotated: 1, kept: 0, unreadable: 1, oldKey: 'kept' })
      expect(file.kept()).toEqual([newKey, oldKey])
      await store().removeProvider('foreign')
      expect(await rotate('ada')).toEqual({ rotated: 0, kept: 1, unreadable: 0, oldKey: 'removed' })
      expect(file.kept()).toEqual([newKey])
    })

    test.each(['listSecrets', 'audited'] as const)(
      'the rotation of a server with keys of its own that fails in %s leaves keys that open everything, and the next one ends it',
      async method => {
        await reset()
        const secrets = createSecretBox([oldKey])
        await addProvider('a', ['a'], secrets)
        const file = keyFile()
        const fail = () => Promise.reject(new Error('away'))
        const { rotate } = rotation(secrets, { rotateKeys: file.rotateKeys, store: { ...store(), [method]: fail } })
        await expect(rotate('ada')).rejects.toThrow('away')
        expect(file.kept()).toEqual([newKey, oldKey])
        expect(await readable(createSecretBox(file.kept()))).toEqual(['a'])
        // As after a restart.
        const next = createSecretBox(file.kept())
        const again = await rotation(next, { rotateKeys: file.rotateKeys }).rotate('ada')
        expect(again).toMatchObject({ rotated: 1, oldKey: 'removed' })
        expect(await readable(createSecretBox([newKey]))).toEqual(['a'])
      },
    )

    test('the rotation of a server with keys of its own waits for what was sealed before and is on its way to the store', async () => {
      await reset()
      const secrets = createSecretBox([oldKey])
      const file = keyFile()
      const gate = deferred<void>()
      // Sealed now, by the old key; written when the gate opens.
      const sealed = sealProviderKey(secrets, 'late', 'late')
      const writing = store().audited(
        async tables => {
          await gate.promise
          const provider = { type: 'anthropic', enabled: true, baseUrl: 'https://h', settings: null } as const
          await tables.upsertProvider({ ...provider, name: 'late', keys: [sealed] })
        },
        () => null,
      )
      const rotating = rotation(secrets, { rotateKeys: file.rotateKeys }).rotate('ada')
      // Also without this write the rotation would take a few turns.
      for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
      expect(file.kept()).toEqual([newKey, oldKey])
      gate.resolve()
      await writing
      expect(await rotating).toEqual({ rotated: 1, kept: 0, unreadable: 0, oldKey: 'removed' })
      expect(await readable(secrets)).toEqual(['late'])
    })
  })
})
