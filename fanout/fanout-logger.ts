/** What the fanout's parts need of a logger; pino's fits. Never given a token, a body or a session id. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
