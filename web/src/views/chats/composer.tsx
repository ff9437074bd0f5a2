import { Button, Textarea } from '@mantine/core'
import { type FormEvent, type KeyboardEvent, useState } from 'react'
import type { ChatState } from '../../data/chat-state.js'
import { useDequeue, useInterrupt, useRetry, useSendMessage } from '../../data/chats.js'
import { Icon } from '../../parts/icons.js'
import { Time } from '../../parts/values.js'

/** The bottom of a chat: what waits, what failed, and for its user a place to write. */
export function Composer({ chatId, state, isOwn }: { chatId: string; state: ChatState; isOwn: boolean }) {
  const isBusy = state.status === 'running' || state.status === 'interrupting'
  return (
    <div className="chat-bottom">
      <Notes chatId={chatId} state={state} isOwn={isOwn} />
      {isOwn ? (
        <Form chatId={chatId} isBusy={isBusy} isStopping={state.status === 'interrupting'} />
      ) : (
        <p className="dim">Only the user of this chat writes in it. Reading it leaves an entry in the audit log.</p>
      )}
    </div>
  )
}

function Notes({ chatId, state, isOwn }: { chatId: string; state: ChatState; isOwn: boolean }) {
  const retry = useRetry(chatId)
  const dequeue = useDequeue(chatId)
  return (
    <div role="status">
      {state.retry && (
        <div className="chat-note chat-note-warn">
          <span>
            {state.retry.message} The next try is at <Time value={state.retry.at} />.
          </span>
        </div>
      )}
      {state.error && (
        <div className="chat-note chat-note-bad">
          <span>The turn failed: {state.error.message}</span>
          {isOwn && (
            <Button variant="default" loading={retry.isPending} onClick={() => retry.mutate(undefined)}>
              Try again
            </Button>
          )}
        </div>
      )}
      {state.queue.map(({ id, parts }) => (
        <div key={id} className="chat-note">
          <span className="cut">Waits: {parts.map(part => (part.type === 'text' ? part.text : '')).join(' ')}</span>
          {isOwn && (
            <Button variant="default" onClick={() => dequeue.mutate(id)}>
              Take back
            </Button>
          )}
        </div>
      ))}
    </div>
  )
}

function Form({ chatId, isBusy, isStopping }: { chatId: string; isBusy: boolean; isStopping: boolean }) {
  const [text, setText] = useState('')
  const send = useSendMessage(chatId, () => setText(''))
  const interrupt = useInterrupt(chatId)
  const submit = (event?: FormEvent): void => {
    event?.preventDefault()
    if (text.trim()) send.mutate({ text, whenBusy: 'queue' })
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    submit()
  }
  return (
    <form className="chat-form" onSubmit={submit}>
      <Textarea
        aria-label="Message"
        placeholder={
          isBusy ? 'The message waits for the running turn' : 'Write a message; Enter sends, Shift+Enter begins a line'
        }
        size="sm"
        autosize
        minRows={1}
        maxRows={8}
        value={text}
        onChange={event => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      {isBusy && (
        <Button
          size="sm"
          variant="default"
          leftSection={<Icon name="stop" size={14} />}
          disabled={isStopping}
          onClick={() => interrupt.mutate(undefined)}
        >
          Stop
        </Button>
      )}
      <Button
        size="sm"
        type="submit"
        leftSection={<Icon name="send" size={14} />}
        loading={send.isPending}
        disabled={!text.trim()}
      >
        Send
      </Button>
    </form>
  )
}
