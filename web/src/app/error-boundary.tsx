import { Button } from '@mantine/core'
import { Component, type ReactNode } from 'react'
import { Empty } from '../parts/states.js'

/** Takes the error of a view, so that the rest of the page goes on. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error: Error | undefined }> {
  override state: { error: Error | undefined } = { error: undefined }

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error }
  }

  override render(): ReactNode {
    const { error } = this.state
    if (!error) return this.props.children
    // A server with newer files has no view of the old names any more.
    const isOld = /dynamically imported module|Importing a module script failed/i.test(error.message)
    return (
      <Empty icon="warning" title={isOld ? 'A new version of this page is there' : 'This view has failed'}>
        <p>{isOld ? 'The server was updated since you opened this page.' : error.message}</p>
        <Button variant="default" onClick={() => window.location.reload()}>
          Load the page again
        </Button>
      </Empty>
    )
  }
}
