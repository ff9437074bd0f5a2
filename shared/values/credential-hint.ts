/**
 * Returns enough of a credential to recognise it: `sk-a…wxyz`. At most four characters of each end are shown, and never
 * more than a third of the whole.
 */
export function credentialHint(credential: string): string {
  const characters = [...credential]
  const shown = Math.min(8, Math.floor(characters.length / 3))
  const last = Math.floor(shown / 2)
  const tail = last === 0 ? [] : characters.slice(-last)
  return `${characters.slice(0, shown - last).join('')}…${tail.join('')}`
}
