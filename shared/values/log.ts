/**
 * Structured logging as every part of the project takes a logger; a pino logger is one. Fields never hold a secret or
 * content.
 */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** A logger that drops every line: the default of every logger option. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/** Returns a logger that adds these fields to each line. */
export function withFields(logger: Logger, common: object): Logger {
  return {
    debug: (fields, message) => logger.debug({ ...common, ...fields }, message),
    info: (fields, message) => logger.info({ ...common, ...fields }, message),
    warn: (fields, message) => logger.warn({ ...common, ...fields }, message),
    error: (fields, message) => logger.error({ ...common, ...fields }, message),
  }
}
