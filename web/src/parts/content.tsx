/** Words of users, models and tools: always text, never markup. */
import { useState } from 'react'
import './content.css'

const longText = 2_400

/** A long text; the rest of a very long one is shown on demand. */
export function Content({ text, label, code = false }: { text: string; label: string; code?: boolean }) {
  const [isWhole, setWhole] = useState(false)
  const isLong = text.length > longText
  return (
    <div className="content">
      <pre className={code ? 'content-code' : 'content-text'} tabIndex={0} role="group" aria-label={label}>
        {isLong && !isWhole ? `${text.slice(0, longText)} …` : text}
      </pre>
      {isLong && (
        <button type="button" className="content-more" onClick={() => setWhole(!isWhole)}>
          {isWhole ? 'Show less' : `Show all ${text.length.toLocaleString('en-US')} characters`}
        </button>
      )}
    </div>
  )
}

/** JSON text, indented if it is whole; any other text as it is. */
export function JsonContent({ text, label }: { text: string; label: string }) {
  return <Content code text={indented(text)} label={label} />
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text // cut short, or no JSON
  }
}
