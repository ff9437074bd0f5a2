/**
 * The version of the contract, MAJOR.MINOR. A minor adds (procedures, optional fields, reasons), a major changes or
 * removes. A client talks to a server of the same major whose minor is not below its own.
 *
 * | version | additions |
 * | --- | --- |
 * | 1.0 | recorder, authorizer, providerConfigurator.getProviders; admin: users, apiKeys, daemonKeys, providers, interceptions |
 * | 1.1 | mcpConfigurator, providerConfigurator.watchProviders; admin: watch, audit, mcpServers, externalAuthLinks, usage, secrets, users.purge |
 * | 1.2 | admin: API keys with a name and the time of their last use; names of users in interceptions, watch, audit and externalAuthLinks; short ids; closed filters; providers.test, warnings and the last failure of providers |
 * | 1.3 | error types billing, unreachable, client_closed, refused; the billed model of a token usage; the daemon that carried an interception; lineage by response and by conversation; lists without the clients' own requests; settings of providers; recorder.ready |
 * | 1.4 | reason slow_reader; provider warning base_url_names_endpoint |
 * | 1.5 | endedBy: ends of interceptions by the control plane, and a filter of interceptions and usage; recorder.endAbandoned, watchErasures, confirmErasures and retireOutbox; the daemons that a purge reached; reason outbox_unwritable |
 * | 1.6 | interceptionKind; admin.mcpServers: inject; mcpConfigurator: inject and needsToken of servers, hasConversations, sessionSecret, rejectedTokens; conversations; reasons conversation_full and mcp_server_failed; admin.mcpServers.test; several keys of a provider, in order: ids, revision, providerConfigurator.reportKey, admin.providers.keys, rejections of keys in providers and in the audit log; settings fallbackUrls, maxParallelRequests and modelsWithoutTools; warning fallback_url_path; unreadable providers; the router of agents: info, start, output, list, signal, cancel; admin.agents: create, list, revoke, start, output, processes, signal; reasons agent_restarted and replaced; reconnect of a side that calls on a reversed link |
 * | 1.7 | chats: all procedures; reasons unknown_chat, unknown_message, chat_busy, chat_archived, chat_idle, chat_full, queue_full and chats_need_content; reason agent_invalid; between servers: agents.info, start, output, list, signal, cancel, and chats.followParts |
 * | 1.8 | costs of token usages, interceptions and usage; usage by key and client; admin.usageExport; admin.prices: list, set, remove, explain, backfill; setting priceList; reads of chats in the audit log |
 */
export const apiVersion = { major: 1, minor: 8 } as const
