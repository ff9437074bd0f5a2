/** The summary of a campaign, as text. */
import type { CampaignReport } from './campaign.js'
import { phases } from './strikes.js'

/** offences of each kind that are printed with their ids */
const shownOffences = 10

/** Returns the lines of a report: figures, the phases, and the offences with their ids. */
export function summaryOf(report: CampaignReport): string {
  const { mode, seed, kills, rounds, strikes, hits, outcomes, offences, kept } = report
  const others = Object.entries(strikes).filter(([manner]) => manner !== 'kill')
  const kinds = [...new Set(offences.map(({ kind }) => kind))]
  return [
    `crash ${mode}, seed ${seed}: ${kills} kills in ${rounds} rounds and ${report.seconds} s`,
    ...others.map(([manner, count]) => `  beside them: ${manner} ${count}`),
    `  kills by phase: ${phases.map(phase => `${phase} ${hits[phase]}`).join(', ')}`,
    `  requests ${report.requests}: ${Object.entries(outcomes)
      .map(([outcome, count]) => `${outcome} ${count}`)
      .join(', ')}`,
    `  calls of the provider ${report.providerCalls}`,
    `  acknowledged ${report.acknowledged}, of them found whole and once ${report.found}`,
    `  interceptions ${report.interceptions}, with an unknown end ${report.unknownEnds}, ended by the control plane ${report.provisionalEnds}`,
    ...(report.failedStarts > 0 ? [`  starts that failed by themselves ${report.failedStarts}`] : []),
    ...kinds.flatMap(kind => {
      const own = offences.filter(offence => offence.kind === kind)
      return [
        `  OFFENCE ${kind}: ${own.length}`,
        ...own.slice(0, shownOffences).map(({ tag, round, detail }) => `    round ${round}, ${tag}: ${detail}`),
      ]
    }),
    ...kept.map(folder => `  kept: ${folder}`),
  ].join('\n')
}
