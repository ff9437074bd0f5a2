import { Button, NativeSelect, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { useCreateAgent } from '../../data/agents.js'
import { usersQuery } from '../../data/users.js'
import { Copyable } from '../../parts/copy.js'
import { Dialog } from '../../parts/dialog.js'
import { ExpiryField } from '../../parts/expiry.js'

/** A button that adds an agent, and shows its key once. */
export function NewAgentButton() {
  const [opened, setOpened] = useState(false)
  return (
    <>
      <Button onClick={() => setOpened(true)}>New agent</Button>
      <Dialog title="New agent" opened={opened} onClose={() => setOpened(false)} wide>
        <NewAgent onClose={() => setOpened(false)} />
      </Dialog>
    </>
  )
}

function NewAgent({ onClose }: { onClose: () => void }) {
  const users = useQuery(usersQuery())
  const active = users.data?.filter(user => !user.deletedAt && !user.isSystem && user.status === 'active') ?? []
  const [name, setName] = useState('')
  const [owner, setOwner] = useState('')
  const [expiresAt, setExpiresAt] = useState<Date>()
  const create = useCreateAgent()
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    create.mutate({ name: name.trim(), user: owner || (active[0]?.username ?? ''), ...(expiresAt && { expiresAt }) })
  }
  if (create.data) {
    return (
      <>
        <p>
          <b>Copy the key now.</b> It is not shown again. Run this on the agent’s machine:
        </p>
        <Copyable
          name="Command for the agent"
          text={`BRIDGE_AGENT_KEY=${create.data.key} aibridge agent --url ${window.location.origin}`}
        />
        <div className="dialog-actions">
          <Button onClick={onClose}>Done</Button>
        </div>
      </>
    )
  }
  return (
    <form onSubmit={submit}>
      <TextInput
        label="Name"
        description="The machine, such as “builder”"
        required
        maxLength={64}
        pattern="[A-Za-z0-9][A-Za-z0-9._\-]*"
        value={name}
        onChange={event => setName(event.currentTarget.value)}
        data-autofocus
      />
      <NativeSelect
        label="User"
        description="Commands run for this user’s chats too"
        data={active.map(({ username }) => username)}
        value={owner}
        onChange={event => setOwner(event.currentTarget.value)}
      />
      <ExpiryField onChange={setExpiresAt} />
      <div className="dialog-actions">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button type="submit" loading={create.isPending} disabled={active.length === 0}>
          Make the agent
        </Button>
      </div>
    </form>
  )
}
