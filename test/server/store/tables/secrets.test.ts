import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store, StoredSecret } from '../../../../server/store/store.js'
import { stores } from '../../../fixtures/stores.js'

describe.each(stores)('sealed secrets in the store: $name', ({ open }) => {
  let store: Store
  const bytes = (value: number) => new Uint8Array([value, 0, 255])
  const column = 'providerKey'

  beforeAll(async () => {
    store = await open()
    const provider = { type: 'anthropic', enabled: true, baseUrl: 'https://h', settings: null } as const
    for (const name of ['b', 'a-b', 'a', 'none']) {
      const ids = name === 'none' ? [] : ['2', '10', '1']
      await store.upsertProvider({ ...provider, name, keys: ids.map(id => ({ id, sealed: bytes(+id), hint: '' })) })
    }
  })
  afterAll(() => store.close())

  test('sealed secrets in the store are listed page by page in the order of their keys, without a gap or a repeat', async () => {
    const seen: StoredSecret[] = []
    let after: readonly string[] | undefined
    do {
      const page = await store.listSecrets({ column, after, limit: 2 })
      seen.push(...page)
      after = page.at(-1)?.key
    } while (after)
    expect(seen.map(({ key }) => key)).toEqual(
      ['a', 'a-b', 'b'].flatMap(name => ['1', '10', '2'].map(id => [name, id])),
    )
    expect([...(seen[1]?.sealed ?? [])]).toEqual([...bytes(10)])
  })

  test('sealed secrets in the store are replaced where they are as expected, and nowhere else', async () => {
    const at = async (key: string[]) =>
      (await store.listSecrets({ column, limit: 100 })).find(row => String(row.key) === String(key))?.sealed[0]
    const key = ['a', '1']
    expect(await store.replaceSecret({ column, key, from: bytes(1), to: bytes(7) })).toBe(true)
    expect(await store.replaceSecret({ column, key, from: bytes(1), to: bytes(8) })).toBe(false)
    expect(await store.replaceSecret({ column, key: ['a', randomUUID()], from: bytes(1), to: bytes(8) })).toBe(false)
    expect(await Promise.all([at(key), at(['b', '1'])])).toEqual([7, 1])
  })

  test('settle() waits for what is under way, and not for what comes later', async () => {
    let open = () => {}
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    let ended = false
    const work = store.audited(
      async () => {
        await gate
        ended = true
      },
      () => null,
    )
    const failing = store.getInterception('no id').catch(() => 'refused')
    const settled = store.settle().then(() => ended)
    open()
    expect(await settled).toBe(true)
    expect(await failing).toBe('refused')
    await work
  })
})
