// @ts-nocheck The packages are installed by the run, beside a copy of this file.
/** A program of the Vercel AI SDK with one tool. Arguments: the API and the prompt. */
import { readFile } from 'node:fs/promises'
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { isStepCount, streamText, tool } from 'ai'
import { z } from 'zod'

const [api, prompt] = process.argv.slice(2)
const { BRIDGE_URL, AIBRIDGE_KEY } = process.env
const anthropic = createAnthropic({ baseURL: `${BRIDGE_URL}/bridge/anthropic/v1`, apiKey: AIBRIDGE_KEY })
const openai = createOpenAI({ baseURL: `${BRIDGE_URL}/bridge/openai/v1`, apiKey: AIBRIDGE_KEY })
const models = {
  anthropic: () => anthropic('claude-sonnet-5'),
  responses: () => openai.responses('gpt-5.5'),
  chat: () => openai.chat('gpt-5.5'),
}

const { textStream } = streamText({
  model: models[api](),
  prompt,
  stopWhen: isStepCount(3),
  maxRetries: 0,
  onError: ({ error }) => {
    throw error
  },
  tools: {
    read_file: tool({
      description: 'Reads a file of the working directory.',
      inputSchema: z.object({ path: z.string() }),
      execute: ({ path }) => readFile(path, 'utf8'),
    }),
  },
})
for await (const text of textStream) process.stdout.write(text)
