import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { invalid } from './config-error.js'

/**
 * Reads the file of a certificate authority.
 * @param flag names the setting in errors
 * @returns the option of TLS; undefined without a file: TLS then trusts the system's authorities
 * @throws RpcError `BAD_REQUEST` (config_invalid) for a file that cannot be read or holds no certificate
 */
export async function readCaFile(path: string | undefined, flag = '--ca'): Promise<{ ca: string } | undefined> {
  if (path === undefined) return undefined
  const name = `${flag} ${JSON.stringify(path)}`
  const ca = await readFile(path, 'utf8').catch((error: unknown) => {
    throw invalid(`${name}: cannot be read: ${error instanceof Error ? error.message : String(error)}`, error)
  })
  try {
    new X509Certificate(ca)
  } catch (error) {
    // TLS would accept such a file silently, and then trust no certificate.
    throw invalid(`${name}: holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----`, error)
  }
  return { ca }
}
