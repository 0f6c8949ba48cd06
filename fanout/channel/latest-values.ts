/**
 * The latest values of a channel as far as they were heard here: for each key the one of the greatest version. At a
 * bound the value that changed longest ago is forgotten.
 */
import type { LatestValue } from "./broker.js";
import { MAX_LATEST_VALUES } from "./channel-limits.js";

export class LatestValues {
  /** In the order of their last change. */
  readonly #values = new Map<string, { readonly value: LatestValue; readonly heardAtMs: number }>();

  /** "stale" where a newer one is known, "known" where it is the same. */
  keep(value: LatestValue): "kept" | "known" | "stale" {
    const known = this.#values.get(value.key)?.value.version;
    if (known !== undefined && known >= value.version) return known > value.version ? "stale" : "known";
    this.#values.delete(value.key);
    this.#values.set(value.key, { value, heardAtMs: performance.now() });
    if (this.#values.size > MAX_LATEST_VALUES) this.#forgetOldest();
    return "kept";
  }

  /** Those that came within the lifetime; the others are forgotten. */
  fresh(lifetimeMs: number): readonly LatestValue[] {
    const oldestMs = performance.now() - lifetimeMs;
    for (const { heardAtMs } of this.#values.values()) {
      if (heardAtMs >= oldestMs) break;
      this.#forgetOldest();
    }
    return Array.from(this.#values.values(), ({ value }) => value);
  }

  #forgetOldest(): void {
    for (const oldest of this.#values.keys()) {
      this.#values.delete(oldest);
      return;
    }
  }
}
