/** The frame around all views: navigation, connection, person. */
import { ActionIcon, Drawer } from '@mantine/core'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { useSession } from '../data/session.js'
import { Link } from '../navigation/link.js'
import { useHref } from '../navigation/location.js'
import { Icon } from '../parts/icons.js'
import { ConnectionState } from './connection-state.js'
import { Navigation } from './navigation.js'
import { Notices } from './notices.js'
import { Person } from './person.js'
import './shell.css'

/** The frame around a view. */
export function Shell({ children }: { children: ReactNode }) {
  const { role } = useSession()
  const [isOpen, setOpen] = useState(false)
  const main = useRef<HTMLElement>(null)
  useFocusOnHeading(main)
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <nav className="side" aria-label="Views">
        <Brand />
        <div className="side-nav">
          <Navigation role={role} />
        </div>
        <Person />
      </nav>
      <nav className="top" aria-label="Menu">
        <ActionIcon aria-label="Open the list of views" onClick={() => setOpen(true)}>
          <Icon name="menu" />
        </ActionIcon>
        <Brand />
      </nav>
      <Drawer
        opened={isOpen}
        onClose={() => setOpen(false)}
        title="Views"
        size={260}
        lockScroll={false}
        closeButtonProps={{ 'aria-label': 'Close' }}
        transitionProps={{ duration: 100 }}
      >
        <nav aria-label="Views">
          <Navigation role={role} onFollow={() => setOpen(false)} />
        </nav>
        <Person />
      </Drawer>
      <main id="main" ref={main} className="main">
        <ConnectionState />
        {children}
      </main>
      <Notices />
    </div>
  )
}

function Brand() {
  return (
    <Link className="brand" href="/">
      <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="8" fill="var(--accent-fill)" />
        <path
          d="M5 22h22M7 22c0-6 4-10 9-10s9 4 9 10M11.5 22v-8.600M16 22V12M20.500 22v-8.600"
          fill="none"
          stroke="#fff"
          strokeWidth="2"
          strokeLinecap="round"
        />
      </svg>
      aibridge
    </Link>
  )
}

/** A new view begins at its heading, for the keyboard and for screen readers. */
function useFocusOnHeading(main: { current: HTMLElement | null }): void {
  const path = new URL(useHref(), window.location.origin).pathname
  const last = useRef(path)
  useEffect(() => {
    if (last.current === path) return
    last.current = path
    const focus = (): boolean => {
      const heading = main.current?.querySelector<HTMLElement>('h1')
      heading?.focus({ preventScroll: true })
      return heading !== undefined && heading !== null
    }
    if (focus() || !main.current) return
    // The view is being loaded.
    const observer = new MutationObserver(() => {
      if (focus()) observer.disconnect()
    })
    observer.observe(main.current, { childList: true, subtree: true })
    return () => observer.disconnect()
  }, [path, main])
}
