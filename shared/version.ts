/**
 * The version of the contract, MAJOR.MINOR. A minor adds (procedures, optional fields, reasons), a major changes or removes.
 * A client talks to a server of the same major whose minor is not below its own.
 *
 * | version | what it brought |
 * | --- | --- |
 * | 1.0 | recorder, authorizer, providerConfigurator.getProviders; admin: users, apiKeys, providers, interceptions |
 */
export const apiVersion = { major: 1, minor: 0 } as const
