/**
 * What is wrong with a pattern from outside; undefined if it can be used. It must be a JavaScript one (flag `u`), and no group that repeats without a bound
 * may repeat within itself: `(a+)+` takes longer than the universe on forty letters. Patterns whose alternatives overlap, as `(a|a)+`, are not
 * found; who may configure a pattern is trusted that far.
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
  /** for each group that is open, whether something in it repeats without a bound */
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

/** Whether `*`, `+` or `{n,}` stands here. */
function isUnbounded(pattern: string, index: number): boolean {
  return /^(?:[*+]|\{\d+,\})/.test(pattern.slice(index, index + 12))
}
