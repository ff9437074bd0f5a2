import { Button, Checkbox, TextInput } from '@mantine/core'
import { type FormEvent, useState } from 'react'
import { useCreateDaemonKey } from '../../data/keys.js'
import { Copyable } from '../../parts/copy.js'
import { Dialog } from '../../parts/dialog.js'
import { ExpiryField } from '../../parts/expiry.js'

/** A button that makes the key of a daemon, and shows it once. */
export function NewDaemonKeyButton() {
  const [opened, setOpened] = useState(false)
  return (
    <>
      <Button onClick={() => setOpened(true)}>New daemon key</Button>
      <Dialog title="New key of a daemon" opened={opened} onClose={() => setOpened(false)} wide>
        <NewDaemonKey onClose={() => setOpened(false)} />
      </Dialog>
    </>
  )
}

function NewDaemonKey({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('')
  const [delegate, setDelegate] = useState(false)
  const [expiresAt, setExpiresAt] = useState<Date>()
  const create = useCreateDaemonKey()
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    create.mutate({ delegate, ...(name.trim() && { name: name.trim() }), ...(expiresAt && { expiresAt }) })
  }
  if (create.data) {
    return (
      <>
        <p>
          <b>Copy the key now.</b> It is not shown again.
        </p>
        <Copyable name="The new key" text={create.data.key} />
        <Copyable
          name="Command for the daemon"
          text={`BRIDGE_DAEMON_KEY=${create.data.key} aibridge daemon --url ${window.location.origin}`}
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
        description="The machine of the daemon. Optional."
        value={name}
        onChange={event => setName(event.currentTarget.value)}
        data-autofocus
      />
      <Checkbox
        label="May name users by the id of a key (delegate)"
        checked={delegate}
        onChange={event => setDelegate(event.currentTarget.checked)}
      />
      <ExpiryField onChange={setExpiresAt} />
      <div className="dialog-actions">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button type="submit" loading={create.isPending}>
          Make the key
        </Button>
      </div>
    </form>
  )
}
