import { ActionIcon, Button, PasswordInput } from '@mantine/core'
import { type FormEvent, useState } from 'react'
import type { ProviderKeySummary, ProviderSummary } from '../../../../shared/contract/admin/providers.js'
import { useAddProviderKey, useOrderProviderKeys, useRemoveProviderKey } from '../../data/providers.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { Icon } from '../../parts/icons.js'
import { Panel } from '../../parts/page.js'
import { Status } from '../../parts/status.js'
import { Time } from '../../parts/values.js'
import './providers.css'

/** The keys of a provider in their order: the first one that works is used. */
export function ProviderKeys({ provider: { name, keyDetails } }: { provider: ProviderSummary }) {
  const order = useOrderProviderKeys()
  const remove = useRemoveProviderKey()
  const toFront = (index: number): void => {
    const ids = keyDetails.map(({ id }) => id)
    const [moved] = ids.splice(index, 1)
    if (moved !== undefined) order.mutate({ name, ids: [...ids.slice(0, index - 1), moved, ...ids.slice(index - 1)] })
  }
  return (
    <Panel title="Keys" beside={<span className="dim">the first one that works is used</span>}>
      {keyDetails.length === 0 && <p className="dim">No key. Requests need a key of the client’s own.</p>}
      <ol className="provider-keys">
        {keyDetails.map((key, index) => (
          <li key={key.id}>
            <code>{key.hint}</code>
            <KeyUse detail={key} isFirst={index === 0} />
            <div className="provider-key-actions">
              <ActionIcon
                aria-label={`Prefer ${key.hint} to the key above`}
                title="Move up"
                disabled={index === 0 || order.isPending}
                onClick={() => toFront(index)}
              >
                <Icon name="up" />
              </ActionIcon>
              <ConfirmButton
                label="Remove"
                title={`Remove the key ${key.hint}?`}
                confirm="Remove the key"
                onConfirm={() => remove.mutate({ name, ids: [key.id] })}
              >
                The gateway forgets the key. At the provider it stays valid.
              </ConfirmButton>
            </div>
          </li>
        ))}
      </ol>
      <AddKey name={name} />
    </Panel>
  )
}

function KeyUse({ detail: { rejection }, isFirst }: { detail: ProviderKeySummary; isFirst: boolean }) {
  if (!rejection) return <Status tone={isFirst ? 'ok' : 'plain'}>{isFirst ? 'Preferred' : 'In reserve'}</Status>
  return (
    <Status tone="bad" title={`Reported by ${rejection.reportedBy}`}>
      <span>
        Rejected with {rejection.status}
        {rejection.model && ` for ${rejection.model}`}, <Time ago value={rejection.at} />
      </span>
    </Status>
  )
}

function AddKey({ name }: { name: string }) {
  const [key, setKey] = useState('')
  const add = useAddProviderKey(() => setKey(''))
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    if (key.trim()) add.mutate({ name, keys: [key.trim()] })
  }
  return (
    <form className="row-form" onSubmit={submit}>
      <PasswordInput
        aria-label="New key"
        placeholder="Another key of the provider"
        value={key}
        onChange={event => setKey(event.currentTarget.value)}
        autoComplete="off"
        visibilityToggleButtonProps={{ 'aria-label': 'Show the key' }}
      />
      <Button type="submit" variant="default" loading={add.isPending} disabled={!key.trim()}>
        Add the key
      </Button>
    </form>
  )
}
