/** Exact decimals: prices are decimal texts, and no price goes through binary fractions. */

/** `digits` × 10^−`scale`. */
export interface Decimal {
  readonly digits: bigint
  readonly scale: number
}

/** Longest decimal: prices have few digits. */
const maxLength = 40

/**
 * Reads a decimal without a sign, such as `0.075`.
 * @throws RangeError for any other text
 */
export function decimalOf(text: string): Decimal {
  const [, whole = '', fraction = ''] = /^(\d+)(?:\.(\d+))?$/.exec(text.slice(0, maxLength + 1)) ?? []
  if (whole === '' || text.length > maxLength)
    throw new RangeError(`${JSON.stringify(text.slice(0, 50))} is no decimal`)
  return { digits: BigInt(whole + fraction), scale: fraction.length }
}

/** Returns a number of a price list as the decimal that the list was written with. */
export function decimalText(value: number): string {
  const text = String(value)
  if (!text.includes('e')) return text
  return value.toFixed(20).replace(/\.?0+$/, '')
}

export function sum(one: Decimal, other: Decimal): Decimal {
  const scale = Math.max(one.scale, other.scale)
  return { digits: scaled(one, scale) + scaled(other, scale), scale }
}

export function product(one: Decimal, other: Decimal): Decimal {
  return { digits: one.digits * other.digits, scale: one.scale + other.scale }
}

export function isLess(one: Decimal, other: Decimal): boolean {
  const scale = Math.max(one.scale, other.scale)
  return scaled(one, scale) < scaled(other, scale)
}

/** Returns a decimal as text, without zeros at its end. */
export function textOf({ digits, scale }: Decimal): string {
  const text = digits.toString().padStart(scale + 1, '0')
  const whole = text.slice(0, text.length - scale)
  const fraction = text.slice(text.length - scale).replace(/0+$/, '')
  return fraction === '' ? whole : `${whole}.${fraction}`
}

/** Rounds to a whole number, a half up. */
export function rounded({ digits, scale }: Decimal): bigint {
  const unit = 10n ** BigInt(scale)
  return (digits * 2n + unit) / (unit * 2n)
}

function scaled({ digits, scale }: Decimal, to: number): bigint {
  return digits * 10n ** BigInt(to - scale)
}
