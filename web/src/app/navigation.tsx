/** The list of views, by what people come for. */
import type { Session } from '../data/session.js'
import { Link } from '../navigation/link.js'
import { useHref } from '../navigation/location.js'
import { Icon, type IconName } from '../parts/icons.js'
import './navigation.css'
import { findRoute } from './routes.js'

interface Entry {
  href: string
  label: string
  icon: IconName
}

const groups: readonly { label: string; entries: readonly Entry[] }[] = [
  {
    label: 'Observe',
    entries: [
      { href: '/interceptions', label: 'Requests', icon: 'activity' },
      { href: '/sessions', label: 'Sessions', icon: 'sessions' },
      { href: '/usage', label: 'Usage and cost', icon: 'chart' },
      { href: '/chats', label: 'Chats', icon: 'chat' },
    ],
  },
  {
    label: 'Access',
    entries: [
      { href: '/users', label: 'Users', icon: 'user' },
      { href: '/groups', label: 'Groups', icon: 'users' },
      { href: '/keys', label: 'Keys', icon: 'key' },
      { href: '/budgets', label: 'Budgets', icon: 'coins' },
    ],
  },
  {
    label: 'Gateway',
    entries: [
      { href: '/providers', label: 'Providers', icon: 'cloud' },
      { href: '/prices', label: 'Prices', icon: 'tag' },
      { href: '/mcp-servers', label: 'MCP servers', icon: 'plug' },
      { href: '/agents', label: 'Agents', icon: 'terminal' },
    ],
  },
  {
    label: 'Server',
    entries: [
      { href: '/audit', label: 'Audit log', icon: 'list' },
      { href: '/settings', label: 'Settings', icon: 'settings' },
      { href: '/start', label: 'First steps', icon: 'start' },
    ],
  },
]

/** The views that a person may open. */
export function Navigation({ role, onFollow }: { role: Session['role']; onFollow?: () => void }) {
  const path = new URL(useHref(), window.location.origin).pathname
  return (
    <div className="nav">
      {groups.map(({ label, entries }) => {
        const open = entries.filter(({ href }) => findRoute(href, role))
        if (open.length === 0) return null
        return (
          <div key={label} className="nav-group">
            <div className="nav-label" id={`nav-${label}`}>
              {label}
            </div>
            <ul aria-labelledby={`nav-${label}`}>
              {open.map(entry => (
                <li key={entry.href}>
                  <Link
                    className="nav-link"
                    href={entry.href}
                    onClick={onFollow}
                    onPointerEnter={() =>
                      void findRoute(entry.href, role)
                        ?.route.load()
                        .catch(() => {})
                    }
                    aria-current={isIn(path, entry.href) ? 'page' : undefined}
                  >
                    <Icon name={entry.icon} />
                    {entry.label}
                  </Link>
                </li>
              ))}
            </ul>
          </div>
        )
      })}
    </div>
  )
}

function isIn(path: string, href: string): boolean {
  return path === href || path.startsWith(`${href}/`)
}
