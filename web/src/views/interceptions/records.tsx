/** The records of one request: prompts, then thoughts and tools in the order of their making, then tokens. */
import type {
  InterceptionDetail,
  ModelThought,
  TokenUsage,
  ToolUsage,
} from '../../../../shared/contract/admin/interceptions.js'
import type { Column } from '../../parts/columns.js'
import { Content, JsonContent } from '../../parts/content.js'
import { DataTable } from '../../parts/data-table.js'
import { Panel } from '../../parts/page.js'
import { Tag } from '../../parts/status.js'
import { Count, Maybe, Money, Time } from '../../parts/values.js'

/** The words of the user. */
export function Prompts({ prompts }: { prompts: InterceptionDetail['promptUsages'] }) {
  return (
    <Panel title={prompts.length > 1 ? `Prompts (${prompts.length})` : 'Prompt'}>
      {prompts.length === 0 ? (
        <p className="dim">No new words of the user are recorded with this request.</p>
      ) : (
        <ul className="steps">
          {prompts.map(({ id, prompt }) => (
            <li key={id} className="step">
              <Content text={prompt} label="Prompt" />
            </li>
          ))}
        </ul>
      )}
    </Panel>
  )
}

/** Thoughts and tool calls of the model. */
export function Steps({ tools, thoughts }: { tools: readonly ToolUsage[]; thoughts: readonly ModelThought[] }) {
  if (tools.length + thoughts.length === 0) return null
  const steps = [...thoughts, ...tools].sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime())
  return (
    <Panel title="Thoughts and tools">
      <ol className="steps">
        {steps.map(step => (
          <li key={step.id} className="step">
            {'tool' in step ? <Tool tool={step} /> : <Thought thought={step} />}
          </li>
        ))}
      </ol>
    </Panel>
  )
}

function Thought({ thought }: { thought: ModelThought }) {
  return (
    <>
      <div className="step-head">
        <b>Thought</b>
        <span className="step-time">
          <Time value={thought.createdAt} />
        </span>
      </div>
      <Content text={thought.content} label="Thought" />
    </>
  )
}

function Tool({ tool }: { tool: ToolUsage }) {
  return (
    <>
      <div className="step-head">
        <b className="mono">{tool.tool}</b>
        {tool.injected && (
          <Tag tone="info" title={tool.serverUrl ?? undefined}>
            by the gateway
          </Tag>
        )}
        {tool.invocationError && <Tag tone="bad">failed</Tag>}
        <span className="step-time">
          <Time value={tool.createdAt} />
        </span>
      </div>
      <JsonContent text={tool.input} label={`Input of ${tool.tool}`} />
      {tool.invocationError && <p className="failure">{tool.invocationError}</p>}
    </>
  )
}

const tokenColumns: Column<TokenUsage>[] = [
  { id: 'model', header: 'Billed model', cell: row => <Maybe value={row.model} none="as requested" /> },
  { id: 'input', header: 'Input', align: 'right', cell: row => <Count value={row.inputTokens} /> },
  {
    id: 'read',
    header: 'Cache read',
    align: 'right',
    from: 'medium',
    cell: row => <Count value={row.cacheReadInputTokens} />,
  },
  {
    id: 'write',
    header: 'Cache write',
    align: 'right',
    from: 'medium',
    cell: row => <Count value={row.cacheWriteInputTokens} />,
  },
  { id: 'output', header: 'Output', align: 'right', cell: row => <Count value={row.outputTokens} /> },
  { id: 'cost', header: 'Cost', align: 'right', cell: row => <Money nanos={row.costNanos} /> },
]

/** The tokens of each response of the provider. */
export function Tokens({ usages }: { usages: readonly TokenUsage[] }) {
  if (usages.length < 2) return null
  return (
    <Panel title="Tokens by response" flush>
      <DataTable inline label="Tokens by response" columns={tokenColumns} rows={usages} rowKey={row => row.id} />
    </Panel>
  )
}
