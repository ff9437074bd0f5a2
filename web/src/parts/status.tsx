/** A state in one word with a dot of its colour. The word says all; the colour repeats it. */
import type { ReactNode } from 'react'
import './status.css'

/** The meanings of colours. */
export type Tone = 'ok' | 'warn' | 'bad' | 'info' | 'plain'

/** One state. `title`: a sentence for the hover. */
export function Status({
  tone,
  children,
  title,
  busy = false,
}: {
  tone: Tone
  children: ReactNode
  title?: string | undefined
  busy?: boolean
}) {
  return (
    <span className={`status status-${tone}`} title={title}>
      <span className={busy ? 'status-dot status-busy' : 'status-dot'} />
      {children}
    </span>
  )
}

/** A short label, such as a type or a role. */
export function Tag({
  tone = 'plain',
  children,
  title,
}: {
  tone?: Tone
  children: ReactNode
  title?: string | undefined
}) {
  return (
    <span className={`tag tag-${tone}`} title={title}>
      {children}
    </span>
  )
}
