/** Chats: the live list, one chat as it runs, and writes of their users. */
import { type InfiniteData, infiniteQueryOptions, queryOptions, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import type { ChatList } from '../../../shared/contract/chats.js'
import { type ChatState, emptyChat, withEvent } from './chat-state.js'
import { api } from './client.js'
import { useAction } from './use-action.js'

const key = ['chats'] as const

/** Filters of the list. */
export interface ChatFilters {
  user?: string
  archived?: boolean
}

type Pages = InfiniteData<ChatList, string | undefined>

/** Pages of chats, the newest change first. */
export const chatsQuery = (filters: ChatFilters) =>
  infiniteQueryOptions({
    queryKey: [...key, filters],
    queryFn: ({ pageParam, signal }) =>
      api().chats.list.query(
        { ...filters, limit: 50, ...(pageParam !== undefined && { cursor: pageParam }) },
        { signal },
      ),
    initialPageParam: undefined as string | undefined, // the type of all later ones
    getNextPageParam: page => page.nextCursor ?? undefined,
  })

/** One chat without its messages. */
export const chatQuery = (chatId: string) =>
  queryOptions({ queryKey: ['chat', chatId], queryFn: ({ signal }) => api().chats.get.query({ chatId }, { signal }) })

/** Reads lists of chats again when one of them changes. */
export function useLiveChats(): void {
  const queries = useQueryClient()
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const again = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined
        queries.setQueriesData<Pages>(
          { queryKey: key },
          pages => pages && { pages: pages.pages.slice(0, 1), pageParams: pages.pageParams.slice(0, 1) },
        )
        void queries.invalidateQueries({ queryKey: key })
      }, 300)
    }
    let seen = false
    const watch = api().chats.watchAll.subscribe(undefined, {
      onData: event => {
        if (event.kind === 'watching') seen = true
        else if (seen) again()
      },
    })
    return () => {
      clearTimeout(timer)
      watch.unsubscribe()
    }
  }, [queries])
}

/** A chat as it runs, and the error that ended the watch. */
export function useChat(chatId: string): { state: ChatState; error: unknown } {
  const [state, setState] = useState<ChatState>(emptyChat)
  const [error, setError] = useState<unknown>()
  useEffect(() => {
    setState(emptyChat)
    setError(undefined)
    // Pieces of text come by the hundred: one rendering for all of a frame.
    let pending: ChatState | undefined
    let current = emptyChat
    let frame: ReturnType<typeof setTimeout> | undefined
    const watch = api().chats.watch.subscribe(
      { chatId },
      {
        onData: ({ data }) => {
          current = withEvent(current, data)
          pending = current
          frame ??= setTimeout(() => {
            frame = undefined
            if (pending) setState(pending)
          }, 30)
        },
        onError: setError,
      },
    )
    return () => {
      clearTimeout(frame)
      watch.unsubscribe()
    }
  }, [chatId])
  return { state, error }
}

/** What a new chat needs. */
export interface NewChat {
  provider: string
  model: string
  title?: string
  system?: string
  agent?: string
  text: string
}

/** Creates a chat with a first message. */
export const useCreateChat = (onDone: (id: string) => void) =>
  useAction({
    run: async ({ text, ...chat }: NewChat) => {
      const id = crypto.randomUUID()
      const message = { id: crypto.randomUUID(), parts: [{ type: 'text' as const, text }] }
      await api().chats.create.mutate({ id, ...chat, message })
      return id
    },
    changes: [key],
    onDone,
  })

/** Sends a message; a running turn is interrupted for it, or it waits. */
export const useSendMessage = (chatId: string, onDone: () => void) =>
  useAction({
    run: ({ text, whenBusy }: { text: string; whenBusy: 'queue' | 'interrupt' }) =>
      api().chats.send.mutate({ chatId, id: crypto.randomUUID(), parts: [{ type: 'text', text }], whenBusy }),
    onDone,
  })

/** Ends the running turn. */
export const useInterrupt = (chatId: string) =>
  useAction({ run: (_: undefined) => api().chats.interrupt.mutate({ chatId }) })

/** Begins a failed turn anew. */
export const useRetry = (chatId: string) => useAction({ run: (_: undefined) => api().chats.retry.mutate({ chatId }) })

/** Takes a message out of the queue. */
export const useDequeue = (chatId: string) =>
  useAction({ run: (id: string) => api().chats.dequeue.mutate({ chatId, id }) })

/** Archives a chat, or takes it back. */
export const useArchive = (chatId: string) =>
  useAction({
    run: (archived: boolean) => api().chats.archive.mutate({ chatId, archived }),
    changes: [key, ['chat', chatId]],
    done: (_, archived) => (archived ? 'The chat is archived.' : 'The chat is back in the list.'),
  })
