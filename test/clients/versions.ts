/** The versions under test. A newer one is tried by changing its line here; docs/clients.md names the same versions. */
export const versions = {
  '@anthropic-ai/claude-code': '2.1.332',
  '@openai/codex': '0.171.0',
  'opencode-ai': '1.18.33',
  ai: '7.0.173',
  '@ai-sdk/anthropic': '4.0.105',
  '@ai-sdk/openai': '4.0.118',
  zod: '4.6.7',
  '@qwen-code/qwen-code': '0.24.4',
  '@github/copilot': '1.0.102',
  '@earendil-works/pi-coding-agent': '1.6.0',
  '@kilocode/cli': '7.7.7',
  cline: '3.0.65',
  '@continuedev/cli': '1.5.47',
  droid: '0.215.0',
  langchain: '1.5.14',
  '@langchain/core': '1.4.0',
  '@langchain/anthropic': '1.5.11',
  '@langchain/openai': '1.6.0',
  '@mastra/core': '1.71.0',
  /** runs the programs that need Node 22 */
  node: '22.23.3',
} as const

export type PackageName = keyof typeof versions
