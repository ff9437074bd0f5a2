/** Controls of a list's filters. Their values stand in the address bar. */
import { Button, NativeSelect, TextInput } from '@mantine/core'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { useSearch } from '../navigation/location.js'
import { Icon } from './icons.js'

/** One choice; `label` names it, and the first entry of the list stands for all. */
export function SelectFilter({
  name,
  label,
  all,
  options,
}: {
  name: string
  label: string
  all: string
  options: readonly (string | { value: string; label: string })[]
}) {
  const [search, change] = useSearch()
  const value = search[name] ?? ''
  const known = options.map(option => (typeof option === 'string' ? { value: option, label: option } : option))
  // A value of a link that is not among the choices stays in sight.
  const others = value !== '' && !known.some(option => option.value === value) ? [{ value, label: value }] : []
  return (
    <NativeSelect
      aria-label={label}
      value={value}
      data={[{ value: '', label: all }, ...known, ...others]}
      onChange={event => change({ [name]: event.currentTarget.value })}
    />
  )
}

/** A text that filters half a second after the last key, or at Enter. */
export function TextFilter({ name, label, width = 180 }: { name: string; label: string; width?: number }) {
  const [search, change] = useSearch()
  const given = search[name] ?? ''
  const [text, setText] = useState(given)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => setText(given), [given])
  useEffect(() => () => clearTimeout(timer.current), [])
  const apply = (value: string): void => {
    clearTimeout(timer.current)
    change({ [name]: value.trim() })
  }
  return (
    <TextInput
      aria-label={label}
      placeholder={label}
      value={text}
      w={width}
      leftSection={<Icon name="search" size={14} />}
      onChange={event => {
        const { value } = event.currentTarget
        setText(value)
        clearTimeout(timer.current)
        timer.current = setTimeout(() => apply(value), 500)
      }}
      onKeyDown={event => {
        if (event.key === 'Enter') apply(event.currentTarget.value)
      }}
    />
  )
}

/** Takes all named filters away; shown while one of them is set. */
export function ClearFilters({
  names,
  children = 'Clear filters',
}: {
  names: readonly string[]
  children?: ReactNode
}) {
  const [search, change] = useSearch()
  if (!names.some(name => search[name])) return null
  return (
    <Button variant="subtle" onClick={() => change(Object.fromEntries(names.map(name => [name, undefined])))}>
      {children}
    </Button>
  )
}
