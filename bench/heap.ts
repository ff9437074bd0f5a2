/** Resolves with the bytes of heap in use after a full collection. Needs `node --expose-gc`. */
export async function heapInUse(): Promise<number> {
  if (!globalThis.gc) throw new Error('run with node --expose-gc')
  for (let turn = 0; turn < 5; turn++) {
    globalThis.gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}
