/** One provider: test, keys, settings, last failure. */
import { Button, Switch } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import type { ProviderSummary } from '../../../../shared/contract/admin/providers.js'
import { providersQuery, useEnableProvider, useRemoveProvider, useTestProvider } from '../../data/providers.js'
import { Link } from '../../navigation/link.js'
import { navigate, withSearch } from '../../navigation/location.js'
import type { ViewProps } from '../../navigation/view.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { Dialog } from '../../parts/dialog.js'
import { formatBytes, formatDuration } from '../../parts/format.js'
import { Facts, Page, Panel } from '../../parts/page.js'
import { Empty, Failed, Loading } from '../../parts/states.js'
import { Time } from '../../parts/values.js'
import { errorLabel } from '../interceptions/outcome.js'
import { ProviderForm } from './new-provider.js'
import { ProviderKeys } from './provider-keys.js'
import { ProviderState, warningText } from './provider-state.js'

const back = { href: '/providers', label: 'Providers' }

/** The view. */
export default function ProviderView({ params }: ViewProps) {
  const { data, error, refetch } = useQuery(providersQuery())
  const provider = data?.find(({ name }) => name === params.name)
  if (provider) return <Detail provider={provider} />
  return (
    <Page title={params.name ?? ''} back={back}>
      {error ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : data ? (
        <Empty icon="search" title="There is no such provider" />
      ) : (
        <Loading />
      )}
    </Page>
  )
}

function Detail({ provider }: { provider: ProviderSummary }) {
  const { name, enabled, warnings } = provider
  const [isEdited, setEdited] = useState(false)
  const enable = useEnableProvider()
  const test = useTestProvider()
  const remove = useRemoveProvider(() => navigate('/providers'))
  return (
    <Page
      title={name}
      back={back}
      beside={<ProviderState provider={provider} />}
      actions={
        <>
          <Switch
            label="Enabled"
            checked={enabled}
            onChange={event => enable.mutate({ name, enabled: event.currentTarget.checked })}
            my="auto"
          />
          <Button loading={test.isPending} onClick={() => test.mutate(name)}>
            Test
          </Button>
          <Button variant="default" onClick={() => setEdited(true)}>
            Edit
          </Button>
          <ConfirmButton
            label="Remove"
            title={`Remove the provider ${name}?`}
            confirm="Remove the provider"
            onConfirm={() => remove.mutate(name)}
          >
            Requests for {name} are rejected, and its keys are forgotten. The records stay.
          </ConfirmButton>
        </>
      }
    >
      {test.data && (
        <p className={`result ${test.data.ok ? 'result-ok' : 'result-bad'}`} role="status">
          {test.data.ok
            ? `The provider answered in ${formatDuration(test.data.durationMs)} and has ${test.data.models} ${test.data.models === 1 ? 'model' : 'models'}.`
            : `The test failed: ${test.data.message}`}
        </p>
      )}
      {warnings.length > 0 && (
        <ul className="warning-list">
          {warnings.map(warning => (
            <li key={warning}>{warningText(warning)}</li>
          ))}
        </ul>
      )}
      <ProviderKeys provider={provider} />
      <About provider={provider} />
      <Dialog title={`Edit ${name}`} opened={isEdited} onClose={() => setEdited(false)}>
        <ProviderForm provider={provider} onClose={() => setEdited(false)} onDone={() => setEdited(false)} />
      </Dialog>
    </Page>
  )
}

const time = (ms: number | null) => (ms === null ? 'as the server' : ms === 0 ? 'none' : formatDuration(ms))

function About({ provider }: { provider: ProviderSummary }) {
  const { settings, lastFailure } = provider
  return (
    <Panel
      title="About"
      actions={
        <>
          <Link href={withSearch('/interceptions', { provider: provider.name })}>Requests</Link>
          <Link href={withSearch('/usage', { provider: provider.name })}>Usage and cost</Link>
        </>
      }
    >
      <Facts
        items={[
          ['API', provider.type],
          ['Base URL', provider.baseUrl],
          [
            'Last failure',
            lastFailure ? (
              <Link key="v" href={`/interceptions/${lastFailure.interceptionId}`}>
                {errorLabel(lastFailure.errorType)}, <Time ago value={lastFailure.at} />
              </Link>
            ) : (
              'none is recorded'
            ),
          ],
          ['Fallback URLs', settings.fallbackUrls?.join(', ') ?? 'none'],
          ['First byte within', time(settings.firstByteTimeoutMs)],
          ['Silence at most', time(settings.idleTimeoutMs)],
          ['Body at most', settings.maxBodyBytes === null ? 'as the server' : formatBytes(settings.maxBodyBytes)],
          ['Parallel requests', settings.maxParallelRequests ?? 'any number'],
          ['Models without tools', settings.modelsWithoutTools?.join(', ') ?? 'small models'],
          ['Changed', <Time key="v" value={provider.updatedAt} />],
        ]}
      />
    </Panel>
  )
}
