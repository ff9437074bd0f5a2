import type { ChatMessage, ChatPart } from '../../../../shared/contract/chats.js'
import type { LivePart } from '../../data/chat-state.js'
import { Link } from '../../navigation/link.js'
import { Content, JsonContent } from '../../parts/content.js'
import { Tag } from '../../parts/status.js'
import { Count, Time } from '../../parts/values.js'

const authors = { user: 'User', assistant: 'Model', tool: 'Tool results', system: 'System' } as const

/** A stored message. */
export function Message({ message, withLink }: { message: ChatMessage; withLink: boolean }) {
  const { role, parts, createdAt, usage, interceptionId, interrupted, finishReason } = message
  return (
    <li className={`message message-${role}`}>
      <div className="message-head">
        <b>{authors[role]}</b>
        {interrupted && <Tag tone="warn">interrupted</Tag>}
        {finishReason === 'max_tokens' && <Tag tone="warn">cut at the limit of tokens</Tag>}
        {finishReason === 'refusal' && <Tag tone="warn">declined</Tag>}
        <span className="message-meta">
          {usage && (
            <span title="input, output">
              <Count short value={usage.inputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens} /> →{' '}
              <Count short value={usage.outputTokens} /> tokens
            </span>
          )}
          {interceptionId && withLink && <Link href={`/interceptions/${interceptionId}`}>Request</Link>}
          <Time value={createdAt} />
        </span>
      </div>
      {parts.map((part, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a stored message never change
        <Part key={index} part={part} />
      ))}
    </li>
  )
}

/** The running response. */
export function LiveMessage({ parts, isCut }: { parts: readonly LivePart[]; isCut: boolean }) {
  return (
    <li className="message message-assistant">
      <div className="message-head">
        <b>Model</b>
        <Tag tone="info">now</Tag>
      </div>
      {parts.map(({ role, index, part }) => (
        <Part key={`${role} ${index} ${'toolCallId' in part ? part.toolCallId : ''}`} part={part} />
      ))}
      {isCut && <p className="dim">The rest comes when the response is whole.</p>}
    </li>
  )
}

function Part({ part }: { part: ChatPart }) {
  switch (part.type) {
    case 'text':
      return <p className="message-text">{part.text}</p>
    case 'reasoning':
      return (
        <details className="message-aside">
          <summary>Thoughts</summary>
          <p className="message-text dim">{part.text}</p>
        </details>
      )
    case 'tool-call':
      return (
        <div className="message-aside">
          <b className="mono">{part.toolName}</b>
          <JsonContent text={part.input} label={`Input of ${part.toolName}`} />
        </div>
      )
    case 'tool-result':
      return (
        <details className="message-aside" open={part.isError}>
          <summary>
            Result of <span className="mono">{part.toolName}</span>{' '}
            {part.cancelled ? <Tag tone="warn">cancelled</Tag> : part.isError && <Tag tone="bad">error</Tag>}
          </summary>
          <Content code text={part.output || '(no output)'} label={`Result of ${part.toolName}`} />
        </details>
      )
    case 'file-reference':
      return (
        <details className="message-aside">
          <summary>
            {part.name}, lines {part.startLine} to {part.endLine}
          </summary>
          <Content code text={part.content} label={part.name} />
        </details>
      )
    case 'source':
      // A page that a model names is not followed by a click: its address is text.
      return (
        <p className="dim">
          Source: {part.title ? `${part.title}, ` : ''}
          {part.url}
        </p>
      )
  }
}
