/**
 * A request through this project's `serve` beside other gateways, with a stand-in provider and clients in processes of
 * their own.
 */
import { fileURLToPath } from 'node:url'
import { aibridgeServe, bareProxy, portkey, providerAlone, type StartGateway } from './gateway/gateway.js'
import { requireLinux } from './gateway/process-usage.js'
import { printGateways, printGatewaysAsJson } from './gateway/report.js'
import { type GatewayEffort, measureGateways } from './gateway/run.js'
import { installPeers } from './rows/peers.js'

interface GatewayOptions {
  effort: GatewayEffort
  json: boolean
  /** whether the gateway of bench/package.json runs too */
  peers: boolean
  /** Rows whose names contain one of these; all if it is empty. */
  only: readonly string[]
  /** the folder of another build of this project, such as its dist/, that runs beside this one */
  build: string | undefined
}

/** Names of the rows, which stand in the paths of requests. */
export const gatewayNames = {
  alone: 'provider',
  bare: 'bare',
  portkey: 'portkey',
  serve: 'aibridge',
  other: 'aibridge-other',
} as const

/** Small blocking responses and streams of 100 chunks: 32 in flight, and the first byte of one after another. */
export async function benchGateway({ effort, json, peers, only, build }: GatewayOptions): Promise<void> {
  requireLinux()
  const isWanted = (name: string): boolean => only.length === 0 || only.some(part => name.includes(part))
  const withPortkey = peers && isWanted(gatewayNames.portkey) && (await installPeers([gatewayNames.portkey]))
  const ownBuild = fileURLToPath(new URL('..', import.meta.url))
  const all: Readonly<Record<string, StartGateway | undefined>> = {
    [gatewayNames.alone]: providerAlone,
    [gatewayNames.bare]: bareProxy,
    [gatewayNames.portkey]: withPortkey ? portkey : undefined,
    [gatewayNames.serve]: aibridgeServe(ownBuild),
    [gatewayNames.other]: build === undefined ? undefined : aibridgeServe(build),
  }
  const starts: Record<string, StartGateway> = {}
  for (const [name, start] of Object.entries(all)) {
    // First bytes are compared with the provider alone.
    if (start && (name === gatewayNames.alone || isWanted(name))) starts[name] = start
  }
  const figures = await measureGateways(starts, effort)
  if (json) printGatewaysAsJson(figures)
  else printGateways(figures)
}
