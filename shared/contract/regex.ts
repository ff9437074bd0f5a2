/**
 * Returns the fault of a pattern from outside; undefined for a usable pattern. A usable pattern is JavaScript's (flag
 * `u`), and no group that repeats without a bound may repeat within itself: `(a+)+` takes longer than the universe on
 * forty letters. Patterns with overlapping alternatives, such as `(a|a)+`, are not found; operators who configure
 * patterns are trusted that far.
 */
export function regexProblem(pattern: string): string | undefined {
  try {
    new RegExp(pattern, 'u')
  } catch (error) {
    return `must be a regular expression of JavaScript: ${error instanceof Error ? error.message : String(error)}`
  }
  return repeatsWithinRepeats(pattern) ? 'must not repeat a group that repeats within itself, as (a+)+' : undefined
}

function repeatsWithinRepeats(pattern: string): boolean {
  /** for each open group, whether a part of the group repeats without a bound */
  const repeats = [false]
  let isClass = false
  for (let index = 0; index < pattern.length; index++) {
    const character = pattern[index]
    if (character === '\\') index++
    else if (isClass) isClass = character !== ']'
    else if (character === '[') isClass = true
    else if (character === '(') repeats.push(false)
    else if (character === ')') {
      const inner = repeats.pop() ?? false
      const isRepeated = isUnbounded(pattern, index + 1)
      if (inner && isRepeated) return true
      if (inner || isRepeated) repeats[repeats.length - 1] = true
    } else if (isUnbounded(pattern, index)) repeats[repeats.length - 1] = true
  }
  return false
}

/** Returns whether `*`, `+` or `{n,}` stands here. */
function isUnbounded(pattern: string, index: number): boolean {
  return /^(?:[*+]|\{\d+,\})/.test(pattern.slice(index, index + 12))
}
