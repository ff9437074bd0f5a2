import { Button, NativeSelect, PasswordInput, TextInput } from '@mantine/core'
import { type FormEvent, useState } from 'react'
import type { ProviderSummary } from '../../../../shared/contract/admin/providers.js'
import { useSaveProvider } from '../../data/providers.js'
import { Dialog } from '../../parts/dialog.js'

/** A button that adds a provider. */
export function NewProviderButton({ onDone }: { onDone: (name: string) => void }) {
  const [opened, setOpened] = useState(false)
  return (
    <>
      <Button onClick={() => setOpened(true)}>Add a provider</Button>
      <Dialog title="Add a provider" opened={opened} onClose={() => setOpened(false)}>
        <ProviderForm
          onClose={() => setOpened(false)}
          onDone={name => {
            setOpened(false)
            onDone(name)
          }}
        />
      </Dialog>
    </>
  )
}

/** The fields of a provider. Of a provider that exists, the name stays. */
export function ProviderForm({
  provider,
  onClose,
  onDone,
}: {
  provider?: ProviderSummary
  onClose: () => void
  onDone: (name: string) => void
}) {
  const [name, setName] = useState(provider?.name ?? '')
  const [type, setType] = useState<string>(provider?.type ?? 'anthropic')
  const [baseUrl, setBaseUrl] = useState(provider?.baseUrl ?? '')
  const [key, setKey] = useState('')
  const save = useSaveProvider(onDone)
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    save.mutate({
      name: name.trim(),
      type: type === 'openai' ? 'openai' : 'anthropic',
      ...(baseUrl.trim() && { baseUrl: baseUrl.trim() }),
      ...(key.trim() && { keys: [key.trim()] }),
    })
  }
  return (
    <form onSubmit={submit}>
      {!provider && (
        <TextInput
          label="Name"
          description="Stands in the base URL of clients: /bridge/NAME"
          required
          pattern="[a-z0-9][a-z0-9_\-]*"
          value={name}
          onChange={event => setName(event.currentTarget.value)}
          data-autofocus
        />
      )}
      <NativeSelect
        label="API"
        value={type}
        data={[
          { value: 'anthropic', label: 'Anthropic Messages' },
          { value: 'openai', label: 'OpenAI Chat Completions and Responses' },
        ]}
        onChange={event => setType(event.currentTarget.value)}
      />
      <TextInput
        label="Base URL"
        description="Empty: the vendor’s own"
        type="url"
        placeholder={type === 'openai' ? 'https://api.openai.com/v1' : 'https://api.anthropic.com'}
        value={baseUrl}
        onChange={event => setBaseUrl(event.currentTarget.value)}
      />
      {!provider && (
        <PasswordInput
          label="Key"
          description="Sealed in the database, and never shown again."
          value={key}
          onChange={event => setKey(event.currentTarget.value)}
          autoComplete="off"
          visibilityToggleButtonProps={{ 'aria-label': 'Show the key' }}
        />
      )}
      <div className="dialog-actions">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button type="submit" loading={save.isPending}>
          Save
        </Button>
      </div>
    </form>
  )
}
