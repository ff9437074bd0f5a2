import type { UserOptions } from './options.js'
import type { ChatsClient } from './user-client.js'

/** Runs work with the procedures of chats of a running server. The parts of a call are loaded with the first call. */
export async function callChats<T>(options: UserOptions, work: (chats: ChatsClient) => Promise<T>): Promise<T> {
  const { withUser } = await import('./user-client.js')
  return withUser(options, work)
}
