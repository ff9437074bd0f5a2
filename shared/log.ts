/** Structured logging as every part of the project takes it; a pino logger is one. Fields never hold a secret or content. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
