// @ts-nocheck The packages are installed by the run, beside a copy of this file.
/** A LangChain agent with one tool. Arguments: the API and the prompt. */
import { readFile } from 'node:fs/promises'
import { ChatAnthropic } from '@langchain/anthropic'
import { ChatOpenAI } from '@langchain/openai'
import { createAgent, tool } from 'langchain'
import { z } from 'zod'

const [api, prompt] = process.argv.slice(2)
const { BRIDGE_URL, AIBRIDGE_KEY } = process.env
const model =
  api === 'anthropic'
    ? new ChatAnthropic({
        model: 'claude-sonnet-5',
        apiKey: AIBRIDGE_KEY,
        anthropicApiUrl: `${BRIDGE_URL}/bridge/anthropic`,
        maxRetries: 0,
      })
    : new ChatOpenAI({
        model: 'gpt-5.5',
        apiKey: AIBRIDGE_KEY,
        configuration: { baseURL: `${BRIDGE_URL}/bridge/openai/v1` },
        useResponsesApi: api === 'responses',
        maxRetries: 0,
      })
const readNote = tool(({ path }) => readFile(path, 'utf8'), {
  name: 'read_file',
  description: 'Reads a file of the working directory.',
  schema: z.object({ path: z.string() }),
})
const agent = createAgent({ model, tools: [readNote] })
const { messages } = await agent.invoke({ messages: [{ role: 'user', content: prompt }] })
process.stdout.write(messages.at(-1).text)
