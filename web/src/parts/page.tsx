/** The frame of a view: title, actions, filters, content. */
import { Button } from '@mantine/core'
import type { ReactNode } from 'react'
import { useEffect, useState } from 'react'
import { Link } from '../navigation/link.js'
import { useSearch } from '../navigation/location.js'
import { Icon } from './icons.js'
import './page.css'

/** Properties of {@link Page}. */
export interface PageProps {
  title: string
  /** stands behind the title, such as a state */
  beside?: ReactNode
  /** the list above a single row */
  back?: { href: string; label: string }
  actions?: ReactNode
  filters?: ReactNode
  /** the content fills the height and scrolls by itself, as a long table does */
  fills?: boolean
  children: ReactNode
}

/** A view. The title of the browser's tab follows. */
export function Page({ title, beside, back, actions, filters, fills = false, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · aibridge`
  }, [title])
  return (
    <div className={fills ? 'page page-fills' : 'page'}>
      <header className="page-head">
        <div className="page-title">
          {back && (
            <Link className="page-back" href={back.href} aria-label={`Back to ${back.label}`} title={back.label}>
              <Icon name="back" />
            </Link>
          )}
          <h1 tabIndex={-1}>{title}</h1>
          {beside}
        </div>
        {actions && <div className="page-actions">{actions}</div>}
      </header>
      {filters && <FilterBar>{filters}</FilterBar>}
      <div className="page-body">{children}</div>
    </div>
  )
}

/** The filters of a list; on a narrow page they stand behind a button. */
function FilterBar({ children }: { children: ReactNode }) {
  const [isOpen, setOpen] = useState(false)
  const [search] = useSearch()
  const count = Object.keys(search).length
  return (
    <search className="page-filters" aria-label="Filters" data-open={isOpen}>
      <div className="page-filters-toggle">
        <Button variant="default" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {count > 0 ? `Filters (${count})` : 'Filters'}
        </Button>
      </div>
      {children}
    </search>
  )
}

/** A block of a view with a heading. */
export function Panel({
  title,
  beside,
  actions,
  flush = false,
  children,
}: {
  title?: ReactNode
  beside?: ReactNode
  actions?: ReactNode
  flush?: boolean
  children: ReactNode
}) {
  return (
    <section className="panel">
      {title && (
        <header className="panel-head">
          <h2>{title}</h2>
          {beside}
          {actions && <div className="panel-actions">{actions}</div>}
        </header>
      )}
      <div className={flush ? 'panel-flush' : 'panel-body'}>{children}</div>
    </section>
  )
}

/** Names and values in two columns. */
export function Facts({
  items,
}: {
  items: readonly (readonly [name: string, value: ReactNode] | false | undefined | null)[]
}) {
  return (
    <dl className="facts">
      {items.map(
        item =>
          item && (
            <div key={item[0]} className="fact">
              <dt>{item[0]}</dt>
              <dd>{item[1]}</dd>
            </div>
          ),
      )}
    </dl>
  )
}

/** A row of large numbers. */
export function Figures({
  items,
}: {
  items: readonly (readonly [name: string, value: ReactNode, beside?: ReactNode])[]
}) {
  return (
    <dl className="figures">
      {items.map(([name, value, beside]) => (
        <div key={name} className="figure">
          <dt>{name}</dt>
          <dd>{value}</dd>
          {beside && <dd className="figure-beside">{beside}</dd>}
        </div>
      ))}
    </dl>
  )
}
