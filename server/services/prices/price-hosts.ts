/** Which price list a provider's base URL stands for. The whole host decides: a host with another end is unknown. */

/** Host → list of the prices package. `*` stands for one label. */
const listOfHost: Readonly<Record<string, string>> = {
  'api.anthropic.com': 'anthropic',
  'api.openai.com': 'openai',
  'generativelanguage.googleapis.com': 'google',
  'aiplatform.googleapis.com': 'google',
  '*.openai.azure.com': 'azure',
  '*.services.ai.azure.com': 'azure',
  '*.cognitiveservices.azure.com': 'azure',
  'bedrock-runtime.*.amazonaws.com': 'aws',
  'openrouter.ai': 'openrouter',
  'api.groq.com': 'groq',
  'api.deepseek.com': 'deepseek',
  'api.mistral.ai': 'mistral',
  'api.x.ai': 'x-ai',
  'api.cerebras.ai': 'cerebras',
  'api.cohere.com': 'cohere',
  'api.cohere.ai': 'cohere',
  'api.moonshot.ai': 'moonshotai',
  'api.moonshot.cn': 'moonshotai',
  'api.perplexity.ai': 'perplexity',
  'api.together.xyz': 'together',
  'api.fireworks.ai': 'fireworks',
  'api.novita.ai': 'novita',
}

const patterns = Object.entries(listOfHost).map(([host, list]) => {
  const labels = host.replaceAll('.', String.raw`\.`).replaceAll('*', '[a-z0-9-]+')
  return { pattern: new RegExp(`^${labels}$`), list }
})

/** The lists that a host or a setting may name. */
export const priceLists: readonly string[] = [...new Set(Object.values(listOfHost))].sort()

/** Returns the list of a base URL; undefined for the host of anybody else, whose prices nobody here knows. */
export function listOfBaseUrl(baseUrl: string): string | undefined {
  if (!URL.canParse(baseUrl)) return undefined
  const { hostname } = new URL(baseUrl)
  return patterns.find(({ pattern }) => pattern.test(hostname))?.list
}
