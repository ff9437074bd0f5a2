/** What a client needs: the base URL and the key, as commands to copy. */
import { SegmentedControl } from '@mantine/core'
import { useState } from 'react'
import { Copyable } from './copy.js'

/** A provider, as far as a client's command names it. */
export interface CommandProvider {
  name: string
  type: string
}

interface Recipe {
  value: string
  label: string
  types: readonly string[]
  text: (base: string, key: string, isDemo: boolean) => string
}

const recipes: readonly Recipe[] = [
  {
    value: 'claude-code',
    label: 'Claude Code',
    types: ['anthropic'],
    text: (base, key) => `ANTHROPIC_BASE_URL=${base} ANTHROPIC_AUTH_TOKEN=${key} claude`,
  },
  {
    value: 'codex',
    label: 'Codex',
    types: ['openai'],
    text: (base, key) =>
      `AIBRIDGE_KEY=${key} codex -c model_provider=aibridge -c 'model_providers.aibridge={name="aibridge",base_url="${base}/v1",env_key="AIBRIDGE_KEY",wire_api="responses"}'`,
  },
  {
    value: 'anthropic-sdk',
    label: 'SDK',
    types: ['anthropic'],
    text: (base, key) => `export ANTHROPIC_BASE_URL=${base}\nexport ANTHROPIC_AUTH_TOKEN=${key}`,
  },
  {
    value: 'openai-sdk',
    label: 'SDK',
    types: ['openai'],
    text: (base, key) => `export OPENAI_BASE_URL=${base}/v1\nexport OPENAI_API_KEY=${key}`,
  },
  {
    value: 'curl',
    label: 'curl',
    types: ['anthropic'],
    text: (base, key, isDemo) =>
      `curl -sN ${base}/v1/messages -H 'x-api-key: ${key}' -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d '{"model":"${isDemo ? 'demo' : 'claude-sonnet-4-5'}","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"Hello"}]}'`,
  },
  {
    value: 'openai-curl',
    label: 'curl',
    types: ['openai'],
    text: (base, key) =>
      `curl -s ${base}/v1/chat/completions -H 'authorization: Bearer ${key}' -H 'content-type: application/json' -d '{"model":"gpt-5-mini","messages":[{"role":"user","content":"Hello"}]}'`,
  },
]

/** Commands for clients of a provider. */
export function ClientCommands({
  providers,
  secret,
  first,
}: {
  providers: readonly CommandProvider[]
  secret: string
  first?: string
}) {
  const [name, setName] = useState(first ?? providers[0]?.name ?? '')
  const provider = providers.find(one => one.name === name) ?? providers[0]
  const fitting = recipes.filter(({ types }) => provider && types.includes(provider.type))
  const [chosen, setChosen] = useState(first === 'demo' ? 'curl' : '')
  const recipe = fitting.find(({ value }) => value === chosen) ?? fitting[0]
  if (!provider || !recipe) return null
  const base = `${window.location.origin}/bridge/${encodeURIComponent(provider.name)}`
  return (
    <div className="commands">
      <div className="commands-choice">
        {providers.length > 1 && (
          <SegmentedControl
            aria-label="Provider"
            value={provider.name}
            onChange={setName}
            data={providers.map(one => one.name)}
          />
        )}
        <SegmentedControl
          aria-label="Client"
          value={recipe.value}
          onChange={setChosen}
          data={fitting.map(({ value, label }) => ({ value, label }))}
        />
      </div>
      <Copyable name={`Command for ${recipe.label}`} text={recipe.text(base, secret, provider.name === 'demo')} />
    </div>
  )
}
