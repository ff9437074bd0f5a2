/** Totals of requests and tokens by any dimension and period. */
import { Button, NativeSelect, SegmentedControl, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { UsageRow } from '../../../../shared/contract/admin/usage.js'
import { useSession } from '../../data/session.js'
import { exportUsage, type UsageInput, usageQuery } from '../../data/usage.js'
import { useAction } from '../../data/use-action.js'
import { Link } from '../../navigation/link.js'
import { type Search, useSearch } from '../../navigation/location.js'
import { saveFile, toCsv, toJsonLines } from '../../parts/export.js'
import { ClearFilters, TextFilter } from '../../parts/filters.js'
import { formatCount } from '../../parts/format.js'
import { Icon } from '../../parts/icons.js'
import { Figures, Page, Panel } from '../../parts/page.js'
import { StackedBars } from '../../parts/plot.js'
import { Empty, Failed, Loading } from '../../parts/states.js'
import { Count, Money } from '../../parts/values.js'
import { type Dimension, dimensions, labelOf, measures } from './measures.js'
import { daysOf, periods, spanOf } from './periods.js'
import { seriesOf } from './series.js'
import { UsageTable } from './usage-table.js'

function inputOf(search: Search): Omit<UsageInput, 'by'> {
  const { user, provider, model } = search
  return { ...spanOf(search), ...(user && { user }), ...(provider && { provider }), ...(model && { model }) }
}

/** The view. */
export default function Usage() {
  const { role } = useSession()
  const [search, change] = useSearch()
  const choices = role === 'admin' ? dimensions : dimensions.filter(({ value }) => value !== 'user')
  const by: Dimension = choices.find(({ value }) => value === search.by)?.value ?? 'model'
  const measure = measures.find(({ value }) => value === search.measure) ?? measures[0]
  const input = useMemo(() => inputOf(search), [search])
  const totals = useQuery(usageQuery({ ...input, by: [by] }))
  const daily = useQuery(usageQuery({ ...input, by: ['day', by] }))
  const days = useMemo(() => daysOf(spanOf(search)), [search])
  const series = useMemo(() => seriesOf(daily.data?.rows ?? [], days, by, measure), [daily.data, days, by, measure])
  const custom = search.from !== undefined || search.to !== undefined
  return (
    <Page
      title="Usage and cost"
      actions={<Exports input={{ ...input, by: ['day', by] }} by={by} />}
      filters={
        <>
          <SegmentedControl
            aria-label="Period"
            data={periods.map(({ value, label }) => ({ value, label }))}
            value={custom ? '' : (search.period ?? '30d')}
            onChange={period => change({ period, from: undefined, to: undefined })}
          />
          <TextInput
            type="date"
            w={126}
            aria-label="First day"
            value={search.from ?? ''}
            onChange={event => change({ from: event.currentTarget.value })}
          />
          <TextInput
            type="date"
            w={126}
            aria-label="Last day"
            value={search.to ?? ''}
            onChange={event => change({ to: event.currentTarget.value })}
          />
          <NativeSelect
            aria-label="By"
            w={108}
            value={by}
            data={choices.map(({ value, label }) => ({ value, label: `By ${label.toLowerCase()}` }))}
            onChange={event => change({ by: event.currentTarget.value })}
          />
          <NativeSelect
            aria-label="Measure"
            w={104}
            value={measure.value}
            data={measures.map(({ value, label }) => ({ value, label }))}
            onChange={event => change({ measure: event.currentTarget.value })}
          />
          {role === 'admin' && <TextFilter name="user" label="User" width={84} />}
          <TextFilter name="provider" label="Provider" width={100} />
          <TextFilter name="model" label="Model" width={112} />
          <ClearFilters names={['user', 'provider', 'model', 'from', 'to']} />
        </>
      }
    >
      {totals.error ? (
        <Failed error={totals.error} retry={() => void totals.refetch()} />
      ) : !totals.data ? (
        <Loading />
      ) : totals.data.rows.length === 0 ? (
        <Empty icon="chart" title="Nothing was used in this period">
          <p>Choose another period, or take a filter away.</p>
        </Empty>
      ) : (
        <>
          <Totals rows={totals.data.rows} />
          <Panel title={`${measure.label} a day`} beside={<span className="dim">{measure.unit}, days in UTC</span>}>
            <StackedBars
              label={`${measure.label} for each day, by ${by}; the table below has the sums`}
              days={days}
              series={series}
              format={measure.format}
              formatAxis={measure.formatAxis}
            />
            {daily.data?.isCut && (
              <p className="dim">The report has more rows than fit; small ones are left out of the plot.</p>
            )}
          </Panel>
          <Panel
            title={`By ${labelOf(by).toLowerCase()}`}
            beside={<span className="dim">{formatCount(totals.data.rows.length)} rows</span>}
            flush
          >
            <UsageTable rows={totals.data.rows} by={by} measure={measure} search={search} />
          </Panel>
        </>
      )}
    </Page>
  )
}

function Totals({ rows }: { rows: readonly UsageRow[] }) {
  const sum = (of: (row: UsageRow) => number) => rows.reduce((total, row) => total + of(row), 0)
  const unpriced = sum(row => row.unpricedRecords)
  const estimated = sum(row => row.estimatedRecords)
  return (
    <Figures
      items={[
        ['Cost', <CostSum key="v" rows={rows} />, costNote(unpriced, estimated)],
        ['Requests', <Count key="v" short value={sum(row => row.interceptions)} />],
        ['Input', <Count key="v" short value={sum(row => row.inputTokens)} />, 'tokens'],
        ['Cache read', <Count key="v" short value={sum(row => row.cacheReadInputTokens)} />, 'tokens'],
        ['Cache write', <Count key="v" short value={sum(row => row.cacheWriteInputTokens)} />, 'tokens'],
        ['Output', <Count key="v" short value={sum(row => row.outputTokens)} />, 'tokens'],
      ]}
    />
  )
}

function CostSum({ rows }: { rows: readonly UsageRow[] }) {
  const priced = rows.flatMap(({ costNanos }) => (costNanos === null ? [] : [BigInt(costNanos)]))
  return <Money nanos={priced.length === 0 ? null : priced.reduce((a, b) => a + b, 0n)} />
}

/** An unknown price is no zero: the sum says how many records it leaves out. */
function costNote(unpriced: number, estimated: number) {
  if (unpriced > 0) return <Link href="/prices">without {formatCount(unpriced)} unpriced records</Link>
  return estimated > 0 ? `${formatCount(estimated)} records estimated` : 'US dollars'
}

/** Saves all rows of the report, also those that are not shown. */
function Exports({ input, by }: { input: UsageInput; by: Dimension }) {
  const run = useAction({
    run: async (format: 'csv' | 'jsonl') => {
      const rows = (await exportUsage(input)).map(row => ({ ...row }))
      if (format === 'csv') saveFile(`usage-by-${by}.csv`, 'text/csv', toCsv(Object.keys(rows[0] ?? { day: '' }), rows))
      else saveFile(`usage-by-${by}.jsonl`, 'application/jsonl', toJsonLines(rows))
    },
  })
  const icon = <Icon name="download" size={14} />
  return (
    <>
      <Button variant="default" leftSection={icon} disabled={run.isPending} onClick={() => run.mutate('csv')}>
        CSV
      </Button>
      <Button variant="default" leftSection={icon} disabled={run.isPending} onClick={() => run.mutate('jsonl')}>
        JSON Lines
      </Button>
    </>
  )
}
