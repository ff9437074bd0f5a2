import { Button, SegmentedControl, TextInput } from '@mantine/core'
import { type FormEvent, useState } from 'react'
import { useSetPrice } from '../../data/prices.js'
import { Dialog } from '../../parts/dialog.js'

interface Given {
  provider?: string
  model?: string
}

/** A button that sets the price of a model. */
export function SetPriceButton({ isMain = false, ...given }: Given & { isMain?: boolean }) {
  const [opened, setOpened] = useState(false)
  return (
    <>
      <Button variant={isMain ? 'filled' : 'default'} onClick={() => setOpened(true)}>
        Set a price
      </Button>
      <Dialog title="Set a price" opened={opened} onClose={() => setOpened(false)}>
        <SetPrice {...given} onClose={() => setOpened(false)} />
      </Dialog>
    </>
  )
}

const decimal = '\\d{1,12}(\\.\\d{1,12})?'

const rates = [
  { name: 'input', label: 'Input', required: true },
  { name: 'output', label: 'Output', required: true },
  { name: 'cacheRead', label: 'Cache read', required: false },
  { name: 'cacheWrite', label: 'Cache write', required: false },
] as const

function SetPrice({ provider = '', model = '', onClose }: Given & { onClose: () => void }) {
  const [kind, setKind] = useState('rates')
  const [fields, setFields] = useState({
    provider,
    model,
    input: '',
    output: '',
    cacheRead: '',
    cacheWrite: '',
    list: 'anthropic',
    aliasOf: '',
    factor: '',
  })
  const save = useSetPrice(onClose)
  const rate = (text: string) => ({ base: text.trim() })
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    const { input, output, cacheRead, cacheWrite, list, aliasOf, factor } = fields
    save.mutate({
      model: fields.model.trim(),
      ...(fields.provider.trim() && { provider: fields.provider.trim() }),
      ...(kind === 'rates'
        ? {
            rates: {
              input: rate(input),
              output: rate(output),
              ...(cacheRead && { cacheRead: rate(cacheRead) }),
              ...(cacheWrite && { cacheWrite: rate(cacheWrite) }),
            },
          }
        : { aliasOf: { list: list.trim(), model: aliasOf.trim(), ...(factor.trim() && { factor: factor.trim() }) } }),
    })
  }
  const field = (name: keyof typeof fields) => ({
    value: fields[name],
    onChange: (event: { currentTarget: { value: string } }) =>
      setFields({ ...fields, [name]: event.currentTarget.value }),
  })
  return (
    <form onSubmit={submit}>
      <TextInput label="Model" required {...field('model')} />
      <TextInput label="Provider" description="Empty: at every provider" {...field('provider')} />
      <SegmentedControl
        aria-label="Kind of price"
        value={kind}
        onChange={setKind}
        data={[
          { value: 'rates', label: 'Rates' },
          { value: 'alias', label: 'As another model' },
        ]}
      />
      {kind === 'rates' ? (
        rates.map(({ name, label, required }) => (
          <TextInput
            key={name}
            label={label}
            description="USD for a million tokens"
            inputMode="decimal"
            required={required}
            pattern={decimal}
            {...field(name)}
          />
        ))
      ) : (
        <>
          <TextInput
            label="List"
            description="The price list, such as anthropic or openai"
            required
            {...field('list')}
          />
          <TextInput label="Model of the list" required {...field('aliasOf')} />
          <TextInput label="Factor" description="Empty: 1" inputMode="decimal" pattern={decimal} {...field('factor')} />
        </>
      )}
      <div className="dialog-actions">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button type="submit" loading={save.isPending}>
          Set the price
        </Button>
      </div>
    </form>
  )
}
