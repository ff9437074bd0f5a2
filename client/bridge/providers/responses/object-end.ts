/** Finds the end of a JSON object in text that arrives in parts. Reads every character once and keeps none. */
export class ObjectEnd {
  /** undefined while only blanks were received */
  #isObject: boolean | undefined
  #depth = 0
  #inString = false
  #escaped = false

  /** Takes the next part of the text. */
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

  /** whether the text is an object and its last brace was received */
  get reached(): boolean {
    return this.#isObject === true && this.#depth === 0
  }
}

function startsAsObject(text: string): boolean | undefined {
  const first = text.trimStart()
  return first === '' ? undefined : first.startsWith('{')
}
