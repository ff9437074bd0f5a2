// @ts-nocheck The peers' types are there only after their installation.
import { create, createFileRegistry } from '@bufbuild/protobuf'
import {
  FileDescriptorProtoSchema,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  timestampDate,
  timestampFromDate,
} from '@bufbuild/protobuf/wkt'
import { createClient, createRouterTransport } from '@connectrpc/connect'

export const does =
  'connect-es with createRouterTransport: Protobuf and its pipeline without HTTP, in memory; the handler calls zod'

const struct = '.google.protobuf.Struct'
const timestamp = '.google.protobuf.Timestamp'
const tokenUsage = {
  id: Type.STRING,
  interceptionId: Type.STRING,
  msgId: Type.STRING,
  inputTokens: Type.INT32,
  outputTokens: Type.INT32,
  cacheReadInputTokens: Type.INT32,
  cacheWriteInputTokens: Type.INT32,
  metadata: struct,
  createdAt: timestamp,
}

/** What protoc makes of recorder.proto, without protoc. */
const file = create(FileDescriptorProtoSchema, {
  name: 'recorder.proto',
  package: 'bench',
  syntax: 'proto3',
  dependency: [file_google_protobuf_struct, file_google_protobuf_timestamp].map(({ proto }) => proto.name),
  messageType: [
    message('TokenUsage', tokenUsage),
    message('Empty', {}),
    message('Count', { count: Type.INT32 }),
    message('Item', { id: Type.INT32, name: Type.STRING }),
  ],
  service: [
    {
      name: 'Recorder',
      method: [
        { name: 'RecordTokenUsage', inputType: '.bench.TokenUsage', outputType: '.bench.Empty' },
        { name: 'Echo', inputType: '.bench.TokenUsage', outputType: '.bench.TokenUsage' },
        { name: 'Items', inputType: '.bench.Count', outputType: '.bench.Item', serverStreaming: true },
      ],
    },
  ],
})

function message(name, fields) {
  const field = Object.entries(fields).map(([name, type], index) => ({
    name,
    jsonName: name,
    number: index + 1,
    label: Label.OPTIONAL,
    ...(typeof type === 'string' ? { type: Type.MESSAGE, typeName: type } : { type }),
  }))
  return { name, field }
}

const imported = [file_google_protobuf_struct, file_google_protobuf_timestamp]
const recorder = createFileRegistry(file, name => imported.find(({ proto }) => proto.name === name)).getService(
  'bench.Recorder',
)

const toMessage = record => ({ ...record, createdAt: timestampFromDate(record.createdAt) })
const fromMessage = ({ $typeName, ...record }) => ({ ...record, createdAt: timestampDate(record.createdAt) })

export async function open(service) {
  const transport = createRouterTransport(({ service: serve }) => {
    serve(recorder, {
      recordTokenUsage: input => service.recordTokenUsage(service.schema.parse(fromMessage(input))),
      echo: input => toMessage(service.echo(service.schema.parse(fromMessage(input)))),
      items: ({ count }) => service.items(count),
    })
  })
  const client = createClient(recorder, transport)
  return {
    async call(record) {
      const { $typeName, ...response } = await client.recordTokenUsage(toMessage(record))
      return response
    },
    async echo(record) {
      return fromMessage(await client.echo(toMessage(record)))
    },
    async subscribe(count, onItem) {
      for await (const item of client.items({ count })) onItem(item)
    },
    async close() {},
  }
}
