/** First steps: a user with a key, a request, and its record. */
import { Button, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type FormEvent, type ReactNode, useEffect, useState } from 'react'
import type { Interception } from '../../../../shared/contract/admin/interceptions.js'
import { useFirstKey } from '../../data/first-key.js'
import { providersQuery } from '../../data/providers.js'
import { watchRecords } from '../../data/watch.js'
import { Link } from '../../navigation/link.js'
import { ClientCommands } from '../../parts/client-commands.js'
import { Copyable } from '../../parts/copy.js'
import { Page } from '../../parts/page.js'
import { Status } from '../../parts/status.js'
import { Time } from '../../parts/values.js'
import './start.css'

/** The view. */
export default function Start() {
  const providers = useQuery(providersQuery())
  const key = useFirstKey()
  const first = useFirstRequest(key.data?.userId)
  const enabled = providers.data?.filter(one => one.enabled) ?? []
  const hasOther = enabled.some(({ name }) => name !== 'demo')
  return (
    <Page title="First steps">
      <ol className="start">
        <Step number={1} title="Make a user and a key" isDone={key.data !== undefined}>
          {key.data ? (
            <>
              <p>The key of {key.data.username}. Copy it now, it is not shown again.</p>
              <Copyable name="The new key" text={key.data.key} />
            </>
          ) : (
            <NameForm isBusy={key.isPending} onSubmit={name => key.mutate(name)} />
          )}
        </Step>
        <Step number={2} title="Send a request" isDone={first !== undefined}>
          {key.data ? (
            <>
              <p>The provider “demo” is part of the server: it needs no account, and nothing leaves the machine.</p>
              <ClientCommands
                key={enabled.length}
                providers={enabled}
                secret={key.data.key}
                first={enabled.some(({ name }) => name === 'demo') ? 'demo' : (enabled[0]?.name ?? '')}
              />
            </>
          ) : (
            <p className="dim">The command for your client stands here once there is a key.</p>
          )}
        </Step>
        <Step number={3} title="See the request arrive" isDone={first !== undefined}>
          {first ? (
            <p>
              <Link href={`/interceptions/${first.id}`}>
                {first.model} at {first.providerName}
              </Link>
              , <Time value={first.startedAt} />. All later ones are under <Link href="/interceptions">Requests</Link>.
            </p>
          ) : (
            <div role="status">
              {key.data ? (
                <Status tone="info" busy>
                  Waiting for the first request
                </Status>
              ) : (
                <span className="dim">It appears here within a second.</span>
              )}
            </div>
          )}
        </Step>
        <Step number={4} title="Add a provider of your own" isDone={hasOther}>
          <p>
            {hasOther ? 'There is one. ' : 'Anthropic, OpenAI, or any server with one of their APIs. '}
            <Link href="/providers">Go to the providers</Link>
          </p>
        </Step>
      </ol>
    </Page>
  )
}

function Step({
  number,
  title,
  isDone,
  children,
}: {
  number: number
  title: string
  isDone: boolean
  children: ReactNode
}) {
  return (
    <li className="start-step">
      <span className={isDone ? 'start-number start-done' : 'start-number'} aria-hidden="true">
        {isDone ? '✓' : number}
      </span>
      <div className="start-content">
        <h2>
          {title}
          {isDone && <span className="visually-hidden"> (done)</span>}
        </h2>
        {children}
      </div>
    </li>
  )
}

function NameForm({ isBusy, onSubmit }: { isBusy: boolean; onSubmit: (name: string) => void }) {
  const [name, setName] = useState('me')
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    onSubmit(name.trim())
  }
  return (
    <form className="start-form" onSubmit={submit}>
      <TextInput
        label="Name of the user"
        description="A user that exists gets one more key"
        required
        maxLength={64}
        pattern="[A-Za-z0-9][A-Za-z0-9._@\-]*"
        value={name}
        onChange={event => setName(event.currentTarget.value)}
      />
      <Button type="submit" loading={isBusy}>
        Make the key
      </Button>
    </form>
  )
}

/** The first request of a user from now on. */
function useFirstRequest(userId: string | undefined): Interception | undefined {
  const [first, setFirst] = useState<Interception>()
  useEffect(() => {
    if (userId === undefined) return
    return watchRecords(event => {
      if (event.kind === 'interception' && event.record.initiatorId === userId) setFirst(known => known ?? event.record)
    })
  }, [userId])
  return first
}
