/** Prices: models without one, those that operators have set, and why a price holds. */
import { useQuery } from '@tanstack/react-query'
import type { ShownOwnPrice, UnpricedModel } from '../../../../shared/contract/admin/prices.js'
import { pricesQuery, useBackfill, useRemovePrice } from '../../data/prices.js'
import { Link } from '../../navigation/link.js'
import { withSearch } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { ConfirmButton } from '../../parts/confirm.js'
import { DataTable } from '../../parts/data-table.js'
import { Page, Panel } from '../../parts/page.js'
import { Empty } from '../../parts/states.js'
import { Count, Time } from '../../parts/values.js'
import { Explain } from './explain.js'
import { SetPriceButton } from './set-price.js'

const reasons: Readonly<Record<string, string>> = {
  unknown_provider: 'the provider is gone',
  no_list: 'the provider has no price list',
  unknown_model: 'no list has the model',
}

const unpricedColumns: Column<UnpricedModel>[] = [
  {
    id: 'model',
    header: 'Model',
    sort: row => row.model,
    cell: row => <Link href={withSearch('/prices', { provider: row.provider, model: row.model })}>{row.model}</Link>,
  },
  {
    id: 'provider',
    header: 'Provider',
    width: '16%',
    from: 'medium',
    sort: row => row.provider,
    cell: row => row.provider,
  },
  {
    id: 'reason',
    header: 'Reason',
    width: '20%',
    from: 'medium',
    cell: row => (row.reason === null ? 'has a price now' : (reasons[row.reason] ?? row.reason.replaceAll('_', ' '))),
  },
  {
    id: 'records',
    header: 'Records',
    width: '96px',
    narrow: '72px',
    align: 'right',
    sort: row => row.records,
    cell: row => <Count value={row.records} />,
  },
  {
    id: 'tokens',
    header: 'Tokens',
    width: '110px',
    narrow: '84px',
    align: 'right',
    sort: row => row.tokens,
    cell: row => <Count short value={row.tokens} />,
  },
  {
    id: 'last',
    header: 'Last',
    width: '118px',
    from: 'wide',
    sort: row => row.lastAt.getTime(),
    cell: row => <Time ago value={row.lastAt} />,
  },
  {
    id: 'actions',
    header: '',
    width: '120px',
    cell: row => (
      <div className="tbl-actions">
        <SetPriceButton provider={row.provider} model={row.model} />
      </div>
    ),
  },
]

const ownColumns: Column<ShownOwnPrice>[] = [
  { id: 'model', header: 'Model', sort: row => row.model, cell: row => row.model },
  {
    id: 'provider',
    header: 'Provider',
    width: '18%',
    cell: row => row.provider ?? <span className="dim">every one</span>,
  },
  { id: 'price', header: 'Price', width: '34%', from: 'medium', cell: row => <PriceText price={row} /> },
  { id: 'updated', header: 'Changed', width: '118px', from: 'wide', cell: row => <Time value={row.updatedAt} /> },
  { id: 'actions', header: '', width: '110px', cell: row => <Remove price={row} /> },
]

/** The view. */
export default function Prices() {
  const { data, error, refetch } = useQuery(pricesQuery())
  const backfill = useBackfill()
  return (
    <Page
      title="Prices"
      actions={
        <>
          <ConfirmButton
            label="Price old records"
            title="Price records without a cost?"
            confirm="Price them"
            disabled={backfill.isPending}
            onConfirm={() => backfill.mutate(undefined)}
          >
            Records without a cost get the price of their day, and are marked as estimates. Costs that are recorded
            stay.
          </ConfirmButton>
          <SetPriceButton isMain />
        </>
      }
    >
      <Panel
        title="Models without a price"
        beside={<span className="dim">last 30 days; their cost is unknown, not zero</span>}
        flush
      >
        <DataTable
          inline
          label="Models without a price"
          columns={unpricedColumns}
          rows={data?.unpriced}
          rowKey={row => `${row.provider} ${row.model}`}
          error={error}
          retry={refetch}
          empty={<Empty icon="check" title="Every model in use has a price" />}
        />
      </Panel>
      <Explain />
      <Panel title="Prices of your own" beside={<span className="dim">before those of the lists</span>} flush>
        <DataTable
          inline
          label="Prices of your own"
          columns={ownColumns}
          rows={data?.own}
          rowKey={row => `${row.provider} ${row.model}`}
          error={error}
          retry={refetch}
          empty={<Empty icon="tag" title="None is set: the lists’ prices hold" />}
        />
      </Panel>
    </Page>
  )
}

function PriceText({ price: { rates, aliasOf, multipliers } }: { price: ShownOwnPrice }) {
  const parts = [
    rates && `$${rates.input.base} in, $${rates.output.base} out for 1M tokens`,
    aliasOf && `as ${aliasOf.model}${aliasOf.factor ? ` × ${aliasOf.factor}` : ''}`,
    multipliers &&
      Object.entries(multipliers)
        .map(([name, factor]) => `${name} × ${factor}`)
        .join(', '),
  ]
  return parts.filter(Boolean).join('; ')
}

function Remove({ price: { provider, model } }: { price: ShownOwnPrice }) {
  const remove = useRemovePrice()
  return (
    <div className="tbl-actions">
      <ConfirmButton
        label="Remove"
        title={`Remove the price of ${model}?`}
        confirm="Remove the price"
        onConfirm={() => remove.mutate({ model, ...(provider !== null && { provider }) })}
      >
        The price of the list holds again, if there is one. Costs that are recorded stay.
      </ConfirmButton>
    </div>
  )
}
