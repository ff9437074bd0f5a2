/** The part of the `AppRouter`'s typed stub that a bridge uses, so that a test can replace it. */
import type { Authorization, IsAuthorizedInput } from '../../../shared/contract/authorizer.js'
import type {
  ConversationPage,
  HiddenTurn,
  PinnedTool,
  PinToolsOutput,
} from '../../../shared/contract/conversations.js'
import type { Erasure } from '../../../shared/contract/erasures.js'
import type { AccessTokensOutput, ServerConfigsOutput } from '../../../shared/contract/mcp-configurator.js'
import type { ProvidersOutput, ReportKeyInput } from '../../../shared/contract/provider-configurator.js'
import type { RecordKind, RecordProcedureName } from '../../../shared/contract/record-kinds.js'
import type {
  BatchRecord,
  EndAbandonedOutput,
  RecordBatchOutput,
  RecordInput,
} from '../../../shared/contract/recorder.js'

/** Options of one call to the control plane. */
export interface ControlPlaneCallOptions {
  /** cancels the call */
  signal?: AbortSignal
}

/** A procedure of the recorder that takes one record. */
export interface RecordProcedure<K extends RecordKind> {
  mutate(record: RecordInput<K>, options?: ControlPlaneCallOptions): Promise<unknown>
}

/** A client of the control plane; `createBridgeClient()` makes one, on either link. */
export interface ControlPlane {
  recorder: { [K in RecordKind as RecordProcedureName<K>]: RecordProcedure<K> } & {
    recordBatch: {
      mutate(input: { records: BatchRecord[] }, options?: ControlPlaneCallOptions): Promise<RecordBatchOutput>
    }
    /** ends what earlier processes of this daemon have left open; a control plane of 1.4 lacks the procedure */
    endAbandoned: {
      mutate(input: { daemonInstances: string[] }, options?: ControlPlaneCallOptions): Promise<EndAbandonedOutput>
    }
    watchErasures: {
      /**
       * Gives the erasures that the outbox has not confirmed, then each new one; after a reconnect all of them again.
       * Ends with `onError` or `onComplete`, or by `unsubscribe()`.
       */
      subscribe(
        input: { outboxId: string; isDurable: boolean },
        handlers: { onData(erasure: Erasure): void; onError(error: unknown): void; onComplete(): void },
      ): { unsubscribe(): void }
    }
    confirmErasures: {
      mutate(
        input: { outboxId: string; erasures: { erasureId: string; records: number }[] },
        options?: ControlPlaneCallOptions,
      ): Promise<unknown>
    }
    retireOutbox: { mutate(input: { outboxId: string }, options?: ControlPlaneCallOptions): Promise<unknown> }
  }
  authorizer: {
    isAuthorized: { query(input: IsAuthorizedInput, options?: ControlPlaneCallOptions): Promise<Authorization> }
  }
  mcpConfigurator: {
    getServerConfigs: {
      query(input: { userId: string }, options?: ControlPlaneCallOptions): Promise<ServerConfigsOutput>
    }
    getServerAccessTokensBatch: {
      query(
        input: { userId: string; serverIds: string[]; rejectedTokens?: Record<string, string> },
        options?: ControlPlaneCallOptions,
      ): Promise<AccessTokensOutput>
    }
  }
  /** conversations with injected tools; a control plane of 1.5 lacks the procedures */
  conversations: {
    open: {
      query(
        input: { userId: string; key: string; after?: number },
        options?: ControlPlaneCallOptions,
      ): Promise<ConversationPage>
    }
    pin: {
      mutate(
        input: { userId: string; key: string; tools: PinnedTool[]; replaces?: boolean },
        options?: ControlPlaneCallOptions,
      ): Promise<PinToolsOutput>
    }
    keep: {
      mutate(
        input: { userId: string; key: string; id: string; turn: HiddenTurn },
        options?: ControlPlaneCallOptions,
      ): Promise<unknown>
    }
  }
  providerConfigurator: {
    getProviders: { query(input?: undefined, options?: ControlPlaneCallOptions): Promise<ProvidersOutput> }
    /** tells operators of a key that its provider rejects */
    reportKey: { mutate(input: ReportKeyInput, options?: ControlPlaneCallOptions): Promise<unknown> }
    watchProviders: {
      /**
       * Signals at once, after each change and after each reconnect. Ends with `onError` or `onComplete`, or by
       * `unsubscribe()`.
       */
      subscribe(
        input: undefined,
        handlers: { onData(): void; onError(error: unknown): void; onComplete(): void },
      ): { unsubscribe(): void }
    }
  }
}
