/** Users and providers for tests of chats. */
import { randomUUID } from 'node:crypto'
import type { Store } from '../../../../server/store/store.js'

/** Adds a user, and returns the id. */
export async function makeUser(store: Store, username: string): Promise<string> {
  const user = await store.createUser({ id: randomUUID(), username })
  if (!user) throw new Error(`the name ${username} is taken`)
  return user.id
}

/** Adds the provider `demo`, which nobody calls, and `off`, which is disabled. */
export async function seedDemo(store: Store): Promise<void> {
  await store.seedProviders([
    { name: 'demo', type: 'anthropic', enabled: true, baseUrl: '/demo', settings: null, keys: [] },
    {
      name: 'openai',
      type: 'openai',
      enabled: true,
      baseUrl: 'https://openai.example.com/v1',
      settings: null,
      keys: [],
    },
    { name: 'off', type: 'anthropic', enabled: false, baseUrl: '/demo', settings: null, keys: [] },
  ])
}
