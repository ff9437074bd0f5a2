import { api } from './client.js'
import { reasonOf } from './errors.js'
import { useAction } from './use-action.js'

/** Makes a key for a user of this name, and the user if there is none. */
export const useFirstKey = () =>
  useAction({
    run: async (username: string) => {
      await api()
        .admin.users.create.mutate({ username })
        .catch(error => {
          if (reasonOf(error) !== 'name_taken') throw error
        })
      const { userId, key } = await api().admin.apiKeys.create.mutate({ user: username, name: 'first steps' })
      return { username, userId, key }
    },
    changes: [['users'], ['keys']],
  })
