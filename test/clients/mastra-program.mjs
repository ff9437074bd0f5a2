// @ts-nocheck The packages are installed by the run, beside a copy of this file.
/** A Mastra agent with one tool. Arguments: the API and the prompt. */
import { readFile } from 'node:fs/promises'
import { createAnthropic } from '@ai-sdk/anthropic'
import { Agent } from '@mastra/core/agent'
import { createTool } from '@mastra/core/tools'
import { z } from 'zod'

const [api, prompt] = process.argv.slice(2)
const { BRIDGE_URL, AIBRIDGE_KEY } = process.env
const model =
  api === 'anthropic'
    ? createAnthropic({ baseURL: `${BRIDGE_URL}/bridge/anthropic/v1`, apiKey: AIBRIDGE_KEY })('claude-sonnet-5')
    : { id: 'aibridge/gpt-5.5', url: `${BRIDGE_URL}/bridge/openai/v1`, apiKey: AIBRIDGE_KEY }
const readNote = createTool({
  id: 'read_file',
  description: 'Reads a file of the working directory.',
  inputSchema: z.object({ path: z.string() }),
  execute: async input => readFile((input.context ?? input).path, 'utf8'),
})
const agent = new Agent({
  id: 'reader',
  name: 'reader',
  instructions: 'Answer in one sentence.',
  model,
  tools: { read_file: readNote },
  maxRetries: 0,
})
const { textStream } = await agent.stream(prompt)
for await (const text of textStream) process.stdout.write(text)
