import { NativeSelect, TextInput } from '@mantine/core'
import { useState } from 'react'

const dayMs = 86_400_000

const choices = [
  { value: '', label: 'Never' },
  { value: '7', label: 'In 7 days' },
  { value: '30', label: 'In 30 days' },
  { value: '90', label: 'In 90 days' },
  { value: '365', label: 'In a year' },
  { value: 'date', label: 'On a day …' },
]

/** The end of a key's life: none, after some days, or at the beginning of a day. */
export function ExpiryField({ onChange }: { onChange: (expiresAt: Date | undefined) => void }) {
  const [choice, setChoice] = useState('')
  const pick = (value: string): void => {
    setChoice(value)
    const days = Number(value)
    onChange(days > 0 ? new Date(Date.now() + days * dayMs) : undefined)
  }
  return (
    <>
      <NativeSelect label="Expires" data={choices} value={choice} onChange={event => pick(event.currentTarget.value)} />
      {choice === 'date' && (
        <TextInput
          type="date"
          label="Day"
          required
          min={new Date(Date.now() + dayMs).toISOString().slice(0, 10)}
          onChange={event =>
            onChange(event.currentTarget.value ? new Date(`${event.currentTarget.value}T00:00`) : undefined)
          }
        />
      )}
    </>
  )
}
