/** What the API needs of a logger; pino's fits. Fields never hold a token, a body or a session id. */
export interface ApiLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
