/** Tells of JSON text that comes in parts when its object is whole. Every character is looked at once, and none is kept. */
export class ObjectEnd {
  /** undefined: only blanks have come */
  #isObject: boolean | undefined
  #depth = 0
  #inString = false
  #escaped = false

  append(text: string): void {
    this.#isObject ??= startsAsObject(text)
    if (!this.#isObject) return
    for (let at = 0; at < text.length; at++) {
      const character = text[at]
      if (this.#escaped) this.#escaped = false
      else if (character === '"') this.#inString = !this.#inString
      else if (this.#inString) this.#escaped = character === '\\'
      else if (character === '{') this.#depth++
      else if (character === '}') this.#depth--
    }
  }

  get reached(): boolean {
    return this.#isObject === true && this.#depth === 0
  }
}

function startsAsObject(text: string): boolean | undefined {
  const first = text.trimStart()
  return first === '' ? undefined : first.startsWith('{')
}
