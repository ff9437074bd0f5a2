import {
  chatInput,
  chatsArchiveInput,
  chatsCreateInput,
  chatsEditInput,
  chatsInterruptInput,
  chatsListInput,
  chatsMessagesInput,
  chatsQueuedInput,
  chatsSendInput,
  chatsWatchInput,
} from '../../shared/contract/chats.js'
import { checked, forReader, forUser, readerProcedure, resumable, router, userProcedure } from './trpc.js'

/** The chats of users; admins read. Inputs and responses are content and are never logged. */
export const chatsRouter = router({
  create: userProcedure
    .input(checked(chatsCreateInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.create(input, userId))),
  send: userProcedure
    .input(checked(chatsSendInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.send(input, userId))),
  edit: userProcedure
    .input(checked(chatsEditInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.edit(input, userId))),
  interrupt: userProcedure
    .input(checked(chatsInterruptInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.interrupt(input, userId))),
  dequeue: userProcedure
    .input(checked(chatsQueuedInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.dequeue(input, userId))),
  promote: userProcedure
    .input(checked(chatsQueuedInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.promote(input, userId))),
  retry: userProcedure
    .input(checked(chatInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.retry(input, userId))),
  archive: userProcedure
    .input(checked(chatsArchiveInput))
    .mutation(forUser(({ chats }, input, { userId }) => chats.archive(input, userId))),
  get: readerProcedure
    .input(checked(chatInput))
    .query(forReader(({ chats }, input, reader) => chats.get(input, reader))),
  list: readerProcedure
    .input(checked(chatsListInput))
    .query(forReader(({ chats }, input, reader) => chats.list(input, reader))),
  messages: readerProcedure
    .input(checked(chatsMessagesInput))
    .query(forReader(({ chats }, input, reader) => chats.messages(input, reader))),
  watch: readerProcedure.input(checked(chatsWatchInput)).subscription(
    forReader(async function* ({ chats, chatWatch }, input, reader, { signal }) {
      await chats.find(input.chatId, reader)
      for await (const { id, event } of chatWatch.watch(input, signal)) yield resumable(id, event)
    }),
  ),
  watchAll: readerProcedure.subscription(
    forReader(async function* ({ chats, chatWatch }, _input, reader, { signal }) {
      await chats.openWatchAll(reader)
      yield* chatWatch.watchAll(reader.role === 'user' ? { userId: reader.userId } : {}, signal)
    }),
  ),
})
