import { useQuery } from '@tanstack/react-query'
import type { PriceExplanation, ShownRate } from '../../../../shared/contract/admin/prices.js'
import { errorText } from '../../data/errors.js'
import { explainQuery } from '../../data/prices.js'
import { useSearch } from '../../navigation/location.js'
import type { Column } from '../../parts/columns.js'
import { DataTable } from '../../parts/data-table.js'
import { TextFilter } from '../../parts/filters.js'
import { formatCount } from '../../parts/format.js'
import { Facts, Panel } from '../../parts/page.js'
import { Loading } from '../../parts/states.js'
import { Status } from '../../parts/status.js'

const matches: Readonly<Record<string, string>> = {
  exact: 'the same name',
  date: 'the name with a date',
  alias: 'an alias',
  own: 'a price of your own',
}

/** Says which price holds for a model of a provider, and why. */
export function Explain() {
  const [{ provider = '', model = '' }] = useSearch()
  const { data, error, isFetching } = useQuery(explainQuery(provider, model))
  return (
    <Panel
      title="Why this price?"
      actions={
        <>
          <TextFilter name="provider" label="Provider" width={140} />
          <TextFilter name="model" label="Model" width={220} />
        </>
      }
    >
      {provider === '' || model === '' ? (
        <p className="dim">Name a provider and a model to see the price of a request of now, step by step.</p>
      ) : data ? (
        <Explanation explanation={data} />
      ) : error ? (
        <p>{errorText(error)}</p>
      ) : (
        isFetching && <Loading rows={3} />
      )}
    </Panel>
  )
}

const columns: Column<ShownRate>[] = [
  { id: 'class', header: 'Class', cell: row => row.class },
  {
    id: 'rate',
    header: 'USD for 1M',
    width: '120px',
    align: 'right',
    cell: row => (row.rate === null ? <span className="dim">none</span> : `$${row.rate}`),
  },
  { id: 'basis', header: 'From', width: '140px', from: 'medium', cell: row => row.basis ?? '' },
  {
    id: 'tiers',
    header: 'Above',
    width: '36%',
    from: 'medium',
    cell: row => row.tiers.map(({ above, rate }) => `$${rate} above ${formatCount(above)} tokens`).join(', '),
  },
]

function Explanation({ explanation: { list, price, reason, similar } }: { explanation: PriceExplanation }) {
  if (!price) {
    return (
      <>
        <Status tone="warn">No price{reason ? `: ${reason.replaceAll('_', ' ')}` : ''}</Status>
        {similar.length > 0 && (
          <p className="dim">
            Names of the list {list} that resemble it: {similar.join(', ')}
          </p>
        )}
      </>
    )
  }
  return (
    <>
      <Facts
        items={[
          ['List', price.list],
          ['Model of the list', price.model],
          ['Found by', matches[price.match] ?? price.match],
          ['Source', price.source],
          price.factor !== null && ['Factor', price.factor],
          Object.keys(price.multipliers).length > 0 && [
            'Multipliers',
            Object.entries(price.multipliers)
              .map(([name, factor]) => `${name} × ${factor}`)
              .join(', '),
          ],
        ]}
      />
      <DataTable inline label="Rates" columns={columns} rows={price.rates} rowKey={row => row.class} />
    </>
  )
}
