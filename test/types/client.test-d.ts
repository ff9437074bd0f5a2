/** Types only: `npm run check` compiles this file, nothing runs it. */
import type { TRPCClient } from '@trpc/client'
import { expectTypeOf } from 'vitest'
import type { BridgeClient } from '../../client/bridge-client.js'
import { createDuplexClient } from '../../client/rpc/client.js'
import type { Connection } from '../../client/rpc/connection.js'
import type { AppRouter } from '../../server/routers/app.js'
import type { CreatedDaemonKey, DaemonKey } from '../../shared/admin.js'
import type { Authorization } from '../../shared/authorizer.js'
import type { RecordBatchOutput, RecordInput } from '../../shared/recorder.js'

declare const connection: Connection
declare const client: BridgeClient

expectTypeOf(createDuplexClient<AppRouter>({ connection })).toEqualTypeOf<TRPCClient<AppRouter>>()
expectTypeOf(client.authorizer.isAuthorized.query({ key: 'k' })).resolves.toEqualTypeOf<Authorization>()
expectTypeOf(client.recorder.recordTokenUsage.mutate).parameter(0).toEqualTypeOf<RecordInput<'tokenUsage'>>()
expectTypeOf(client.recorder.recordBatch.mutate({ records: [] })).resolves.toEqualTypeOf<RecordBatchOutput>()
expectTypeOf(client.admin.daemonKeys.create.mutate({})).resolves.toEqualTypeOf<CreatedDaemonKey>()
expectTypeOf(client.admin.daemonKeys.list.query()).resolves.toEqualTypeOf<DaemonKey[]>()
// @ts-expect-error a procedure that does not exist
client.recorder.recordNothing
// @ts-expect-error a mutation is no query
client.recorder.recordTokenUsage.query
