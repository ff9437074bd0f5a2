import { Button } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { Suspense, useEffect, useState } from 'react'
import { closeClient, openClient } from '../data/client.js'
import { loadSession, type Session, useSessionState } from '../data/session.js'
import { Link } from '../navigation/link.js'
import { navigate, useHref } from '../navigation/location.js'
import { Page } from '../parts/page.js'
import { Empty, Loading } from '../parts/states.js'
import { ErrorBoundary } from './error-boundary.js'
import { findRoute } from './routes.js'
import { Shell } from './shell.js'
import { SignIn } from './sign-in.js'

/** The page: sign-in, or the views of the person who is signed in. */
export function App() {
  const state = useSessionState()
  useEffect(() => {
    void loadSession()
  }, [])
  switch (state.name) {
    case 'loading':
      return <div role="status" aria-label="Loading" />
    case 'unreachable':
      return (
        <main className="sign-in">
          <Empty icon="warning" title="The server cannot be reached">
            <Button variant="default" onClick={() => void loadSession()}>
              Try again
            </Button>
          </Empty>
        </main>
      )
    case 'signed-out':
      return <SignIn notice={state.notice} />
    case 'signed-in':
      return <SignedIn key={`${state.session.role} ${state.session.userId}`} session={state.session} />
  }
}

/** Rows of one person never show to the next: the cache ends with the session. */
function SignedIn({ session }: { session: Session }) {
  const queries = useQueryClient()
  const [isReady, setReady] = useState(false)
  useEffect(() => {
    openClient()
    setReady(true)
    return () => {
      closeClient()
      queries.clear()
    }
  }, [queries])
  return isReady && <Shell>{<View session={session} />}</Shell>
}

function View({ session }: { session: Session }) {
  const { pathname } = new URL(useHref(), window.location.origin)
  const found = findRoute(pathname, session.role)
  useEffect(() => {
    if (pathname === '/') navigate('/interceptions', { replace: true })
  }, [pathname])
  if (pathname === '/') return null
  if (!found) {
    return (
      <Page title="Not found">
        <Empty icon="search" title="There is no such view">
          <p>The link may be wrong, or the view may be for operators only.</p>
          <Link href="/interceptions">Go to the requests</Link>
        </Empty>
      </Page>
    )
  }
  return (
    <ErrorBoundary key={pathname}>
      <Suspense fallback={<Loading />}>
        <found.route.View params={found.params} />
      </Suspense>
    </ErrorBoundary>
  )
}
