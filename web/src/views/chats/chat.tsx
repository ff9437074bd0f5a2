/** One chat, live. */
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type RefObject, useEffect, useRef } from 'react'
import { chatQuery, useArchive, useChat } from '../../data/chats.js'
import { isNotFound } from '../../data/errors.js'
import { useSession } from '../../data/session.js'
import type { ViewProps } from '../../navigation/view.js'
import { Page } from '../../parts/page.js'
import { Empty, Failed, Loading } from '../../parts/states.js'
import { Tag } from '../../parts/status.js'
import { ChatStatus } from './chat-status.js'
import './chats.css'
import { Composer } from './composer.js'
import { LiveMessage, Message } from './message.js'

const back = { href: '/chats', label: 'Chats' }

/** The view. */
export default function ChatView({ params }: ViewProps) {
  const id = params.id ?? ''
  const session = useSession()
  const chat = useQuery(chatQuery(id))
  const { state, error } = useChat(id)
  const scroller = useRef<HTMLDivElement>(null)
  useStickToEnd(scroller, state)
  const archive = useArchive(id)
  if (!chat.data) {
    const failure = chat.error ?? error
    return (
      <Page title="Chat" back={back}>
        {!failure ? (
          <Loading />
        ) : isNotFound(failure) ? (
          <Empty icon="search" title="There is no such chat" />
        ) : (
          <Failed error={failure} retry={() => void chat.refetch()} />
        )}
      </Page>
    )
  }
  const { title, username, ownerId, model, provider, system } = chat.data
  const isOwn = session.role === 'user' && session.userId === ownerId
  const status = state.status ?? chat.data.status
  return (
    <Page
      fills
      title={title ?? 'Chat'}
      back={back}
      beside={
        <>
          <ChatStatus status={status} />
          <Tag>
            {provider} · {model}
          </Tag>
          {!isOwn && <Tag>{username ?? 'deleted user'}</Tag>}
          {state.isArchived && <Tag>archived</Tag>}
        </>
      }
      actions={
        isOwn && (
          <Button
            variant="default"
            disabled={status === 'running' || status === 'interrupting'}
            onClick={() => archive.mutate(!state.isArchived)}
          >
            {state.isArchived ? 'Take back' : 'Archive'}
          </Button>
        )
      }
    >
      <div className="chat">
        <div className="chat-scroll" ref={scroller} tabIndex={0} role="region" aria-label="Messages">
          <ol className="messages" aria-live="polite" aria-busy={state.live.length > 0}>
            {system && (
              <li className="message dim">
                <b>System</b>
                <p className="message-text">{system}</p>
              </li>
            )}
            {state.messages.map(message => (
              <Message key={message.id} message={message} withLink />
            ))}
            {state.live.length > 0 && <LiveMessage parts={state.live} isCut={state.isCut} />}
          </ol>
          {state.status === undefined && error === undefined && <Loading rows={3} />}
          {error !== undefined && <Failed error={error} />}
        </div>
        <Composer chatId={id} state={state} isOwn={isOwn} />
      </div>
    </Page>
  )
}

/** Keeps the end of the chat in sight, unless the reader has scrolled up. */
function useStickToEnd(scroller: RefObject<HTMLDivElement | null>, state: unknown): void {
  const isAtEnd = useRef(true)
  useEffect(() => {
    const element = scroller.current
    const note = (): void => {
      if (element) isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 60
    }
    element?.addEventListener('scroll', note, { passive: true })
    return () => element?.removeEventListener('scroll', note)
  })
  // biome-ignore lint/correctness/useExhaustiveDependencies: each state may have made the chat longer
  useEffect(() => {
    if (isAtEnd.current) scroller.current?.scrollTo({ top: scroller.current.scrollHeight })
  }, [state, scroller])
}
