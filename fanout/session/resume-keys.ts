/**
 * The resume keys port: what resume tokens are signed with. All fanouts that share a store share the key, so
 * that a token of one is good at any other. Implementations: `resume-keys-memory.ts`, `resume-keys-redis.ts`.
 */
export interface ResumeKeys {
  /** Signs new tokens. */
  readonly signing: Buffer;
  /** Of tokens that are accepted: the signing one, and the one before it where there was one. */
  readonly accepted: readonly Buffer[];
}

export const RESUME_KEY_BYTES = 32;
