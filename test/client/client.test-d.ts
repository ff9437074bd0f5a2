/** Types only: `npm run check` compiles this file, nothing runs it. */
import { createTRPCClient, type TRPCClient } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { expectTypeOf } from 'vitest'
import type { BridgeClient } from '../../client/bridge-client.js'
import { createDuplexClient } from '../../client/rpc/client.js'
import type { Connection } from '../../client/rpc/connection.js'
import { duplexLink } from '../../client/rpc/link.js'
import type { AppRouter } from '../../server/routers/app.js'
import type { CreatedDaemonKey, DaemonKey } from '../../shared/contract/admin/daemon-keys.js'
import type { Authorization } from '../../shared/contract/authorizer.js'
import type { RecordBatchOutput, RecordInput } from '../../shared/contract/recorder.js'
import { transformer } from '../../shared/rpc/json/transformer.js'

const plainRouter = initTRPC.create().router({})
declare const connection: Connection
declare const client: BridgeClient

expectTypeOf(createDuplexClient<AppRouter>({ connection, transformer })).toEqualTypeOf<TRPCClient<AppRouter>>()
createDuplexClient<AppRouter>({ connection, transformer: { input: transformer, output: transformer } })
createTRPCClient<AppRouter>({ links: [duplexLink({ connection, transformer })] })
// @ts-expect-error the router has a transformer
createDuplexClient<AppRouter>({ connection })
// @ts-expect-error the router has a transformer
createTRPCClient<AppRouter>({ links: [duplexLink({ connection })] })
createDuplexClient<typeof plainRouter>({ connection })
createTRPCClient<typeof plainRouter>({ links: [duplexLink({ connection })] })
// @ts-expect-error the router has no transformer
createDuplexClient<typeof plainRouter>({ connection, transformer })
// @ts-expect-error the router has no transformer
createTRPCClient<typeof plainRouter>({ links: [duplexLink({ connection, transformer })] })
expectTypeOf(client.authorizer.isAuthorized.query({ key: 'k' })).resolves.toEqualTypeOf<Authorization>()
expectTypeOf(client.recorder.recordTokenUsage.mutate).parameter(0).toEqualTypeOf<RecordInput<'tokenUsage'>>()
expectTypeOf(client.recorder.recordBatch.mutate({ records: [] })).resolves.toEqualTypeOf<RecordBatchOutput>()
expectTypeOf(client.admin.daemonKeys.create.mutate({})).resolves.toEqualTypeOf<CreatedDaemonKey>()
expectTypeOf(client.admin.daemonKeys.list.query()).resolves.toEqualTypeOf<DaemonKey[]>()
// @ts-expect-error a procedure that does not exist
client.recorder.recordNothing
// @ts-expect-error a mutation is no query
client.recorder.recordTokenUsage.query
