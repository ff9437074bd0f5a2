/**
 * The vendors' SDKs, pointed at a running bridge: `aibridge serve` at the default address, with a key of `aibridge keys
 * create` in AIBRIDGE_KEY.
 *
 * Asks the provider `demo`, which needs no account, and prints the reply as it streams.
 */
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'

const bridge = process.env.AIBRIDGE_URL ?? 'http://127.0.0.1:4100/bridge'
const key = process.env.AIBRIDGE_KEY ?? ''

// #region clients
const anthropic = new Anthropic({ baseURL: `${bridge}/anthropic`, authToken: key })
const openai = new OpenAI({ baseURL: `${bridge}/openai/v1`, apiKey: key })
// #endregion
console.log(`${anthropic.baseURL} and ${openai.baseURL}`)

const demo = new Anthropic({ baseURL: `${bridge}/demo`, authToken: key })
const stream = demo.messages.stream({
  model: 'demo',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Hello' }],
})
for await (const event of stream) {
  if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') process.stdout.write(event.delta.text)
}
process.stdout.write('\n')
