import { Button, Checkbox, PasswordInput, TextInput } from '@mantine/core'
import { type FormEvent, useState } from 'react'
import type { McpServer } from '../../../../shared/contract/admin/mcp-servers.js'
import { useSaveMcpServer } from '../../data/mcp-servers.js'
import { Dialog } from '../../parts/dialog.js'

/** A button that adds an MCP server. */
export function NewMcpServerButton({ onDone }: { onDone: (id: string) => void }) {
  const [opened, setOpened] = useState(false)
  const close = () => setOpened(false)
  return (
    <>
      <Button onClick={() => setOpened(true)}>Add an MCP server</Button>
      <Dialog title="Add an MCP server" opened={opened} onClose={close}>
        <McpServerForm
          onClose={close}
          onDone={id => {
            close()
            onDone(id)
          }}
        />
      </Dialog>
    </>
  )
}

/** The fields of an MCP server. An empty field of a server that exists removes the value. */
export function McpServerForm({
  server,
  onClose,
  onDone,
}: {
  server?: McpServer
  onClose: () => void
  onDone: (id: string) => void
}) {
  const [fields, setFields] = useState({
    id: server?.id ?? '',
    url: server?.url ?? '',
    toolAllowRegex: server?.toolAllowRegex ?? '',
    toolDenyRegex: server?.toolDenyRegex ?? '',
    tokenUrl: server?.tokenUrl ?? '',
    clientId: server?.clientId ?? '',
    validateUrl: server?.validateUrl ?? '',
  })
  const [inject, setInject] = useState(server?.inject ?? false)
  const [clientSecret, setClientSecret] = useState('')
  const save = useSaveMcpServer(onDone)
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    const { id, url, ...others } = fields
    const optional = Object.fromEntries(Object.entries(others).map(([name, value]) => [name, value.trim() || null]))
    save.mutate({ id: id.trim(), url: url.trim(), inject, ...optional, ...(clientSecret && { clientSecret }) })
  }
  const field = (name: keyof typeof fields) => ({
    value: fields[name],
    onChange: (event: { currentTarget: { value: string } }) =>
      setFields({ ...fields, [name]: event.currentTarget.value }),
  })
  return (
    <form onSubmit={submit}>
      {!server && (
        <TextInput
          label="Id"
          description="Stands before the names of its tools"
          required
          pattern="[a-z0-9][a-z0-9_\-]*"
          data-autofocus
          {...field('id')}
        />
      )}
      <TextInput label="URL" type="url" required {...field('url')} />
      <Checkbox
        label="Offer the tools to models (inject)"
        checked={inject}
        onChange={event => setInject(event.currentTarget.checked)}
      />
      <TextInput
        label="Tools that are allowed"
        description="A regular expression; empty: all"
        {...field('toolAllowRegex')}
      />
      <TextInput
        label="Tools that are denied"
        description="A regular expression; empty: none"
        {...field('toolDenyRegex')}
      />
      <TextInput label="Token URL" description="Refreshes users’ tokens (OAuth)" type="url" {...field('tokenUrl')} />
      <TextInput label="Client id" {...field('clientId')} />
      <PasswordInput
        label="Client secret"
        description={server?.hasClientSecret ? 'Empty: stays as it is' : undefined}
        value={clientSecret}
        onChange={event => setClientSecret(event.currentTarget.value)}
        autoComplete="off"
        visibilityToggleButtonProps={{ 'aria-label': 'Show the secret' }}
      />
      <TextInput
        label="Validation URL"
        description="Says whether a token is still valid"
        type="url"
        {...field('validateUrl')}
      />
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
