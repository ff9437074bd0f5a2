/** A process of the benchmark, which answers each message of its parent with one of its own. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

/** The parent's end. */
export interface Child {
  readonly pid: number
  /** Sends a message and resolves with the response. */
  ask(message: unknown): Promise<unknown>
  stop(): Promise<void>
}

/** Starts a script. Resolves with the script's first message. */
export async function startChild(script: URL, args: string[] = []): Promise<{ child: Child; first: unknown }> {
  // Standard output belongs to the figures, and the parent's flags to the parent.
  const child = fork(script, args, { stdio: ['ignore', 2, 2, 'ipc'], execArgv: [] })
  const response = () => nextMessage(script.pathname, child)
  const first = await response()
  return {
    first,
    child: {
      pid: child.pid ?? Number.NaN,
      ask(message) {
        child.send(message as object) // any JSON value
        return response()
      },
      async stop() {
        const ended = once(child, 'exit')
        child.disconnect()
        await ended
      },
    },
  }
}

function nextMessage(script: string, child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`${script} ended with ${code}`))
    child.once('exit', onExit)
    child.once('message', message => {
      child.off('exit', onExit)
      resolve(message)
    })
  })
}
