/** Which of the sessions that live here came with which token: found by the token's id when that is revoked. */
import { revocationKey, type RevocableToken } from "./revocation.js";

export class TokenHolders<Holder> {
  readonly #holders = new Map<string, Set<Holder>>();

  add(holder: Holder, token: RevocableToken): void {
    const key = keyOf(token);
    if (key === undefined) return;
    const holders = this.#holders.get(key) ?? new Set<Holder>();
    this.#holders.set(key, holders);
    holders.add(holder);
  }

  remove(holder: Holder, token: RevocableToken): void {
    const key = keyOf(token);
    const holders = key === undefined ? undefined : this.#holders.get(key);
    if (key !== undefined && holders?.delete(holder) === true && holders.size === 0)
      this.#holders.delete(key);
  }

  /** Of the token with this id. */
  of(app: string, tokenId: string): ReadonlySet<Holder> {
    return this.#holders.get(revocationKey({ subject: "token", app, id: tokenId })) ?? NOBODY;
  }
}

const NOBODY: ReadonlySet<never> = new Set();

function keyOf({ app, tokenId }: RevocableToken): string | undefined {
  return tokenId === "" ? undefined : revocationKey({ subject: "token", app, id: tokenId });
}
