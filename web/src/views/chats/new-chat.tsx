import { Button, Textarea, TextInput } from '@mantine/core'
import { type FormEvent, useState } from 'react'
import { useCreateChat } from '../../data/chats.js'
import { navigate } from '../../navigation/location.js'
import { Dialog } from '../../parts/dialog.js'

/** A button that begins a chat. */
export function NewChatButton() {
  const [opened, setOpened] = useState(false)
  return (
    <>
      <Button onClick={() => setOpened(true)}>New chat</Button>
      <Dialog title="New chat" opened={opened} onClose={() => setOpened(false)} wide>
        <NewChat onClose={() => setOpened(false)} />
      </Dialog>
    </>
  )
}

function NewChat({ onClose }: { onClose: () => void }) {
  const [fields, setFields] = useState({ provider: 'demo', model: 'demo', agent: '', title: '', text: '' })
  const create = useCreateChat(id => navigate(`/chats/${id}`))
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    const { provider, model, agent, title, text } = fields
    create.mutate({
      provider: provider.trim(),
      model: model.trim(),
      text,
      ...(agent.trim() && { agent: agent.trim() }),
      title: title.trim() || text.slice(0, 80),
    })
  }
  const field = (name: keyof typeof fields) => ({
    value: fields[name],
    onChange: (event: { currentTarget: { value: string } }) =>
      setFields({ ...fields, [name]: event.currentTarget.value }),
  })
  return (
    <form onSubmit={submit}>
      <Textarea label="Message" required autosize minRows={4} maxRows={12} data-autofocus {...field('text')} />
      <TextInput label="Title" description="Empty: the beginning of the message" {...field('title')} />
      <TextInput label="Provider" required {...field('provider')} />
      <TextInput label="Model" required {...field('model')} />
      <TextInput
        label="Agent"
        description="Name of your workspace agent, on which the model may run commands. Optional."
        {...field('agent')}
      />
      <div className="dialog-actions">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button type="submit" loading={create.isPending} disabled={!fields.text.trim()}>
          Begin
        </Button>
      </div>
    </form>
  )
}
