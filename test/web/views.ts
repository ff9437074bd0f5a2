/** Every view of an operator, with a path that shows rows of {@link makeOthers} and {@link makeTraffic}. */
export function viewsOf({ interception, chat }: { interception: string; chat: string }): Record<string, string> {
  return {
    interceptions: '/interceptions',
    interception: `/interceptions/${interception}`,
    usage: '/usage',
    chats: '/chats',
    chat: `/chats/${chat}`,
    users: '/users',
    user: '/users/ada',
    keys: '/keys',
    'daemon-keys': '/keys?of=daemons',
    providers: '/providers',
    provider: '/providers/anthropic',
    prices: '/prices?provider=anthropic&model=claude-sonnet-4-5-20250929',
    'mcp-servers': '/mcp-servers',
    'mcp-server': '/mcp-servers/tickets',
    agents: '/agents',
    agent: '/agents/builder',
    audit: '/audit',
    start: '/start',
    'not-found': '/nothing',
    empty: '/interceptions?user=nobody',
  }
}
