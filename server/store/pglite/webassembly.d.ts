/**
 * The used part of WebAssembly: the types of Node 20 leave WebAssembly to lib "dom", which would declare a browser's
 * globals too.
 */
declare namespace WebAssembly {
  /** compiled code, which threads share */
  interface Module {
    readonly [Symbol.toStringTag]: 'WebAssembly.Module'
  }
  function compile(bytes: Uint8Array): Promise<Module>
}
