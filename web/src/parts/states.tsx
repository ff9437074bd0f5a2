/** The states of a view without rows: loading, failed, empty. */
import { Button } from '@mantine/core'
import type { ReactNode } from 'react'
import { errorText } from '../data/errors.js'
import { Icon, type IconName } from './icons.js'
import './states.css'

const widths = [92, 69, 87, 64, 82, 59, 77, 54]

/** Grey bars in the place of rows. */
export function Loading({ rows = 8, label = 'Loading' }: { rows?: number; label?: string }) {
  return (
    <div className="loading" role="status">
      <span className="visually-hidden">{label}</span>
      {widths.slice(0, rows).map(width => (
        <span key={width} className="loading-bar" style={{ width: `${width}%` }} />
      ))}
    </div>
  )
}

/** A failed read, and a button that tries again. */
export function Failed({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  return (
    <div className="state" role="alert">
      <span className="state-icon state-icon-bad">
        <Icon name="warning" size={20} />
      </span>
      <h2>This could not be loaded</h2>
      <p>{errorText(error)}</p>
      {retry && (
        <Button variant="default" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  )
}

/** A view without rows: what would stand here, and what to do. */
export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="state">
      <span className="state-icon">
        <Icon name={icon} size={20} />
      </span>
      <h2>{title}</h2>
      {children && <div className="state-text">{children}</div>}
    </div>
  )
}
