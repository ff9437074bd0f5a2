import { expect, test } from 'vitest'
import { dollarsOf, shownDollars } from '../../../shared/values/money.js'

test.each([
  ['0', '0', '$0.00'],
  ['1', '0.000000001', '$0.000000001'],
  ['4200000', '0.0042', '$0.00420'],
  ['945000000', '0.945', '$0.945'],
  ['999999999', '0.999999999', '$1.000'],
  ['1500000000', '1.5', '$1.50'],
  ['12345678901234567890', '12345678901.23456789', '$12345678901.23'],
])('%s nano-dollars are %s, and shown as %s', (nanos, dollars, shown) => {
  expect([dollarsOf(nanos), shownDollars(nanos)]).toEqual([dollars, shown])
})
