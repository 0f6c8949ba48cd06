/**
 * The keys of an identity provider, kept fresh without making anybody wait for it:
 * - a known key is answered at once, also while keys are reloaded and also when the provider fails (the
 *   old keys stay for as long as it does; only a good answer replaces them);
 * - an unknown key id starts a reload, at most one per cooldown however many such tokens come;
 * - one reload runs at a time; there are no timers: age is looked at when a key is asked for.
 */
import type { CryptoKey } from "jose";
import { AuthenticationError } from "./authentication-error.js";
import { readKeySet, type PublicKeyAlgorithm, type VerificationKey } from "./key-set.js";
import { fetchJwks } from "./jwks-fetch.js";

export interface JwksTiming {
  /** Older keys are reloaded in the background. */
  readonly maxAgeMs: number;
  /** Unknown key ids start a reload at most this often. */
  readonly cooldownMs: number;
  /** The cooldown after a first failure; doubles with each further one, up to `cooldownMs`. */
  readonly failureCooldownMs: number;
  readonly timeoutMs: number;
}

export const DEFAULT_JWKS_TIMING: JwksTiming = {
  maxAgeMs: 10 * 60_000,
  cooldownMs: 30_000,
  failureCooldownMs: 1000,
  timeoutMs: 5000,
};

export interface JwksKeysOptions {
  readonly url: string;
  readonly timing?: Partial<JwksTiming>;
  /** Milliseconds of a clock that never goes back. */
  readonly nowMs?: () => number;
  /** For the log; the error names no key. */
  readonly onLoadFailed?: (error: unknown) => void;
}

const MAX_BODY_BYTES = 256 * 1024;

export class JwksKeys {
  /** Loads that failed, since the start. */
  failedLoads = 0;
  /** Loads that brought keys, since the start. */
  loads = 0;

  readonly #url: URL;
  readonly #timing: JwksTiming;
  readonly #nowMs: () => number;
  readonly #onLoadFailed: (error: unknown) => void;
  readonly #closing = new AbortController();
  #keys: readonly VerificationKey[] = [];
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  #nextLoadAtMs = Number.NEGATIVE_INFINITY;
  #failuresInARow = 0;
  #loading: Promise<void> | undefined;

  constructor(options: JwksKeysOptions) {
    this.#url = parseUrl(options.url);
    this.#timing = { ...DEFAULT_JWKS_TIMING, ...options.timing };
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#onLoadFailed = options.onLoadFailed ?? (() => undefined);
  }

  /**
   * The key that a token's header names. A token without a key id gets the only key of its algorithm;
   * where there are several, guessing is refused. Rejects with an AuthenticationError.
   */
  async find(algorithm: PublicKeyAlgorithm, keyId: string | undefined): Promise<CryptoKey> {
    const known = this.#lookUp(algorithm, keyId);
    if (known !== undefined) {
      if (this.#nowMs() - this.#loadedAtMs > this.#timing.maxAgeMs) void this.reload();
      return known;
    }
    await this.reload();
    const loaded = this.#lookUp(algorithm, keyId);
    if (loaded !== undefined) return loaded;
    if (this.#loadedAtMs === Number.NEGATIVE_INFINITY || this.#failuresInARow > 0) {
      throw new AuthenticationError("keys_unavailable", "the keys that tokens are checked with are away", {
        retryAfterMs: Math.max(1000, Math.ceil(this.#nextLoadAtMs - this.#nowMs())),
      });
    }
    throw new AuthenticationError("unknown_key", "the token is signed with a key that is not known here");
  }

  /**
   * Loads the keys, or waits for the load under way; does nothing within a cooldown. Never rejects: a
   * failed load leaves the keys as they were. Called at the start, the first tokens need not wait.
   */
  async reload(): Promise<void> {
    if (this.#loading === undefined && this.#nowMs() >= this.#nextLoadAtMs && !this.#closing.signal.aborted) {
      this.#loading = this.#load().finally(() => (this.#loading = undefined));
    }
    await this.#loading;
  }

  /** Milliseconds since keys were last loaded; `undefined`: never. */
  ageMs(): number | undefined {
    return this.#loadedAtMs === Number.NEGATIVE_INFINITY ? undefined : this.#nowMs() - this.#loadedAtMs;
  }

  /** Ends a fetch under way and starts no other; the keys there are stay usable. */
  close(): void {
    this.#closing.abort();
  }

  async #load(): Promise<void> {
    const { cooldownMs, failureCooldownMs, timeoutMs } = this.#timing;
    try {
      const document = await fetchJwks({
        url: this.#url,
        timeoutMs,
        maxBodyBytes: MAX_BODY_BYTES,
        signal: this.#closing.signal,
      });
      this.#keys = await readKeySet(document);
      this.#loadedAtMs = this.#nowMs();
      this.#nextLoadAtMs = this.#loadedAtMs + cooldownMs;
      this.#failuresInARow = 0;
      this.loads += 1;
    } catch (error) {
      const waitMs = Math.min(cooldownMs, failureCooldownMs * 2 ** this.#failuresInARow);
      this.#nextLoadAtMs = this.#nowMs() + waitMs;
      this.#failuresInARow += 1;
      this.failedLoads += 1;
      if (!this.#closing.signal.aborted) this.#onLoadFailed(error);
    }
  }

  #lookUp(algorithm: PublicKeyAlgorithm, keyId: string | undefined): CryptoKey | undefined {
    const keys = this.#keys.filter((key) => key.algorithm === algorithm);
    if (keyId !== undefined) return keys.find((key) => key.keyId === keyId)?.key;
    return keys.length === 1 ? keys[0]?.key : undefined;
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new Error(
      "JWT_JWKS_URL must be an http or https URL, as https://id.example.com/.well-known/jwks.json",
    );
  }
  return url;
}
