/** The events of a chat on stdout, until the chat is at rest. */
import type { ChatError, ChatEvent } from '../../../shared/contract/chats.js'
import { errorReasonOf, rpcError } from '../../../shared/contract/error-reasons.js'
import { errorCodeOf, RpcError } from '../../../shared/rpc/errors.js'
import { invocation } from '../../process/invocation.js'
import { printJson } from '../../process/output.js'
import { finishDespiteSignals } from '../../process/stop-signals.js'
import { ExitWith } from '../common/exit-with.js'
import type { ChatsClient } from '../common/user-client.js'
import { ChatPrinter } from './chat-printer.js'

/** The part of a chat that {@link showEvents} shows, and its form. */
export interface Shown {
  chatId: string
  /** one line of JSON for each event */
  json: boolean
  /** id of a user's message: only that message and the events behind it are shown, in text only those behind it */
  from?: string
  /** event id behind which the events begin; default: at the first message */
  since?: string | undefined
  /** called before the first event, when a signal ends the watch and no more the process */
  onReady?: () => void
  /** whether the events go on while the chat is at rest */
  isEndless?: boolean
}

/** The end of a watch. */
type End = { kind: 'at rest' } | { kind: 'failed'; error: ChatError } | { kind: 'signal' } | { kind: 'gone' }

/**
 * Prints events until the chat is at rest, a first signal, or the end of the reader of stdout. A server that goes away
 * is dialled again, and the events go on behind the last one. A second signal ends the process with 130.
 * @throws RpcError `PRECONDITION_FAILED` with the reason of a failed turn, or unknown_message if the message `from` was
 *   not served; ExitWith 130 after a signal, unless the watch is endless
 */
export async function showEvents(client: ChatsClient, shown: Shown): Promise<void> {
  const { chatId, json, from, since, isEndless = false } = shown
  const printer = new ChatPrinter()
  let isShown = from === undefined
  let isFailed = false
  let stop: (end: End) => void = () => {}

  function take(id: string, event: ChatEvent): void {
    const isFrom = event.kind === 'message' && event.message.id === from
    isShown ||= isFrom
    if (isShown && json) printJson({ id, ...event })
    else if (isShown && !isFrom && (event.kind !== 'error' || isEndless)) printer.event(event)
    if (isEndless) return
    if (event.kind === 'status') {
      // The error of a failed turn is the next event but one.
      isFailed = event.status === 'error'
      if (event.status === 'waiting') stop({ kind: 'at rest' })
    } else if (event.kind === 'error' && event.error && isFailed) stop({ kind: 'failed', error: event.error })
  }

  const watched = new Promise<End>((resolve, reject) => {
    const subscription = client.watch.subscribe(
      { chatId, lastEventId: since },
      {
        onData: ({ id, data }) => take(id, data),
        onError: error => reject(since === undefined ? error : sinceProblem(error, since)),
        onComplete: () => resolve({ kind: 'gone' }),
      },
    )
    stop = end => {
      // The end of a subscription completes it: this end comes first.
      resolve(end)
      subscription.unsubscribe()
    }
  })
  const onGone = () => stop({ kind: 'gone' })
  process.stdout.once('error', onGone)
  try {
    const end = await finishDespiteSignals(
      () => {
        shown.onReady?.()
        return watched
      },
      () => stop({ kind: 'signal' }),
    )
    printer.end()
    throwFor(end, { ...shown, isShown })
  } finally {
    process.stdout.off('error', onGone)
  }
}

function throwFor(end: End, { chatId, json, isEndless, isShown }: Shown & { isShown: boolean }): void {
  switch (end.kind) {
    case 'gone':
      return
    case 'at rest':
      if (isShown) return
      throw rpcError('unknown_message', 'the message was taken out of the queue before its turn')
    case 'failed': {
      const { message, reason } = end.error
      const rest = isShown ? '' : '; the message still waits in the queue'
      throw new RpcError<string>('PRECONDITION_FAILED', `the turn failed: ${message}${rest}`, { reason })
    }
    case 'signal': {
      if (isEndless) return
      if (!json) process.stderr.write(`the chat goes on; see: ${invocation()} chats watch ${chatId}\n`)
      throw new ExitWith(130)
    }
  }
}

/** Returns an error about the event id in the words of the command line; any other error stays as it is. */
function sinceProblem(error: unknown, since: string): unknown {
  if (errorCodeOf(error) !== 'BAD_REQUEST' || errorReasonOf(error) !== undefined) return error
  const message = `--since ${JSON.stringify(since)}: is not an event id of this chat, as watch --json prints them`
  return new RpcError('BAD_REQUEST', message, { cause: error })
}
