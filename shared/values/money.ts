/** Amounts of money: nano-dollars as decimal text, as the contract carries them. */

const nanosPerDollar = 1_000_000_000n

/** Returns nano-dollars as dollars with all their digits: `1.5`, `0.000000001`. */
export function dollarsOf(nanos: string): string {
  const amount = BigInt(nanos)
  const whole = amount / nanosPerDollar
  const fraction = (amount % nanosPerDollar).toString().padStart(9, '0').replace(/0+$/, '')
  return fraction === '' ? String(whole) : `${whole}.${fraction}`
}

/** Returns nano-dollars as a person reads them: `$1.50`, `$0.0042`; two digits at least, of small amounts three. */
export function shownDollars(nanos: string): string {
  const amount = BigInt(nanos)
  if (amount >= nanosPerDollar || amount === 0n) return `$${rounded(amount, 2)}`
  let digits = 2
  while (digits < 9 && amount < 100n * 10n ** BigInt(9 - digits)) digits++
  return `$${rounded(amount, digits)}`
}

function rounded(nanos: bigint, digits: number): string {
  const unit = 10n ** BigInt(9 - digits)
  const units = (nanos * 2n + unit) / (unit * 2n)
  const text = units.toString().padStart(digits + 1, '0')
  return `${text.slice(0, -digits)}.${text.slice(-digits)}`
}
