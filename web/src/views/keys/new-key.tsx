/** Makes a key, and shows it once. */
import { Button, NativeSelect, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { useCreateKey } from '../../data/keys.js'
import { providersQuery } from '../../data/providers.js'
import { useSession } from '../../data/session.js'
import { usersQuery } from '../../data/users.js'
import { ClientCommands } from '../../parts/client-commands.js'
import { Copyable } from '../../parts/copy.js'
import { Dialog } from '../../parts/dialog.js'
import { ExpiryField } from '../../parts/expiry.js'

/** A button that makes a key for a user: the given one, or one that is chosen. */
export function NewKeyButton({ user, variant = 'filled' }: { user?: string; variant?: string }) {
  const [opened, setOpened] = useState(false)
  return (
    <>
      <Button variant={variant} onClick={() => setOpened(true)}>
        New key
      </Button>
      <Dialog title="New key" opened={opened} onClose={() => setOpened(false)} wide>
        <NewKey user={user} onClose={() => setOpened(false)} />
      </Dialog>
    </>
  )
}

function NewKey({ user, onClose }: { user: string | undefined; onClose: () => void }) {
  const { role } = useSession()
  const isChosen = role === 'admin' && user === undefined
  const users = useQuery({ ...usersQuery(), enabled: isChosen })
  const active = users.data?.filter(one => one.deletedAt === null && !one.isSystem && one.status === 'active') ?? []
  const [owner, setOwner] = useState('')
  const [name, setName] = useState('')
  const [expiresAt, setExpiresAt] = useState<Date>()
  const create = useCreateKey()
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    const chosen = user ?? (owner || (active[0]?.username ?? ''))
    create.mutate({ user: chosen, ...(name.trim() && { name: name.trim() }), ...(expiresAt && { expiresAt }) })
  }
  if (create.data) return <ShownKey secret={create.data.key} onClose={onClose} />
  return (
    <form onSubmit={submit}>
      {isChosen && (
        <NativeSelect
          label="User"
          description={active.length === 0 && users.data ? 'There is no active user yet. Create one first.' : undefined}
          value={owner}
          data={active.map(one => one.username)}
          onChange={event => setOwner(event.currentTarget.value)}
        />
      )}
      <TextInput
        label="Name"
        description="Where the key is used, such as “laptop”. Optional."
        value={name}
        onChange={event => setName(event.currentTarget.value)}
        data-autofocus
      />
      <ExpiryField onChange={setExpiresAt} />
      <div className="dialog-actions">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button type="submit" loading={create.isPending} disabled={isChosen && active.length === 0}>
          Make the key
        </Button>
      </div>
    </form>
  )
}

/** The only sight of a key. */
export function ShownKey({ secret, onClose }: { secret: string; onClose: () => void }) {
  const { role } = useSession()
  const providers = useQuery({ ...providersQuery(), enabled: role === 'admin' })
  const known = providers.data?.filter(({ enabled }) => enabled) ?? [
    { name: 'anthropic', type: 'anthropic' },
    { name: 'openai', type: 'openai' },
  ]
  return (
    <>
      <p>
        <b>Copy the key now.</b> The server keeps only a hash of it, so it is not shown again.
      </p>
      <Copyable name="The new key" text={secret} />
      <h3>Use it in a client</h3>
      <ClientCommands key={known.length} providers={known} secret={secret} />
      <div className="dialog-actions">
        <Button onClick={onClose}>Done</Button>
      </div>
    </>
  )
}
