/** Clients that send one request after the other, until they are stopped. */
import { Agent } from 'node:http'
import { Choice } from '../transport/choice.js'
import { ask } from './client.js'
import type { Exchanges } from './exchanges.js'
import { planOf } from './plan.js'

/** Options of {@link startLoad}. */
export interface LoadOptions {
  exchanges: Exchanges
  /** where requests may go: bridges by the names of their processes */
  bridges: readonly { name: string; url: string }[]
  /** the API key of the user */
  key: string
  seed: number
  /** number of the round, which makes tags unique */
  round: number
  workers: number
}

/** Running clients. */
export interface Load {
  /** Lets running requests end. */
  stop(): Promise<void>
}

/** Starts the clients. Each draws its requests from the seed, whatever the others do. */
export function startLoad({ exchanges, bridges, key, seed, round, workers }: LoadOptions): Load {
  let isLoading = true
  const agent = new Agent({ keepAlive: true })
  let number = 0
  const work = async (worker: number) => {
    const choice = new Choice(seed + round * 104_729 + worker * 7_919)
    while (isLoading) {
      const { name, url } = choice.pick(bridges)
      const plan = planOf(`crash-${seed}-${round}-${number++}`, choice)
      const outcome = await ask(exchanges, exchanges.ask(plan, name), { url, key, agent })
      // A killed process is not asked a thousand times a second.
      if (outcome !== 'whole' && outcome !== 'left') await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
  const all = Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)))
  return {
    async stop() {
      isLoading = false
      await all
      agent.destroy()
    },
  }
}
