/** Texts that are made to be copied. */
import { Button } from '@mantine/core'
import { useEffect, useState } from 'react'
import { notify } from '../data/notices.js'
import { Icon } from './icons.js'
import './copy.css'

/** A button that copies a text and says so. */
export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 2_000)
    return () => clearTimeout(timer)
  }, [copied])
  const copy = async (): Promise<void> => {
    try {
      await write(text)
      setCopied(true)
    } catch {
      notify('bad', 'The browser does not let this page copy. Select the text and copy it yourself.')
    }
  }
  return (
    <Button variant="default" onClick={copy} leftSection={<Icon name={copied ? 'check' : 'copy'} size={14} />}>
      <span aria-live="polite">{copied ? 'Copied' : label}</span>
    </Button>
  )
}

/** Pages over plain HTTP have no clipboard API, except on this machine. */
async function write(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = document.createElement('textarea')
  area.value = text
  area.className = 'visually-hidden'
  document.body.append(area)
  area.select()
  const isCopied = document.execCommand('copy')
  area.remove()
  if (!isCopied) throw new Error('not copied')
}

/** A command or a key with its button. */
export function Copyable({ text, label, name }: { text: string; label?: string; name: string }) {
  return (
    <div className="copyable">
      <pre tabIndex={0} role="group" aria-label={name}>
        {text}
      </pre>
      <CopyButton text={text} {...(label !== undefined && { label })} />
    </div>
  )
}
