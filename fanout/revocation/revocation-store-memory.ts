/** Revocations in this process: the embedded default. They live as long as the process does. */
import { randomUUID } from "node:crypto";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import { revocationKey, widen, type Revocation } from "./revocation.js";
import {
  DEFAULT_MAX_REVOCATIONS,
  type AddOutcome,
  type RevocationListener,
  type RevocationMark,
  type RevocationNews,
  type RevocationStore,
} from "./revocation-store.js";

interface Kept {
  readonly revocation: Revocation;
  readonly version: number;
}

export class MemoryRevocationStore implements RevocationStore {
  readonly #clock: StoreClock;
  readonly #maxRevocations: number;
  /** By subject, in the order of their versions. */
  readonly #kept = new Map<string, Kept>();
  readonly #listeners = new Set<RevocationListener>();
  #epoch = "";
  #version = 0;

  constructor(options: { readonly clock?: StoreClock; readonly maxRevocations?: number } = {}) {
    this.#clock = options.clock ?? new SystemClock();
    this.#maxRevocations = options.maxRevocations ?? DEFAULT_MAX_REVOCATIONS;
  }

  async add(revocations: readonly Revocation[]): Promise<readonly AddOutcome[]> {
    const nowMs = Math.floor(this.#clock.nowUs() / 1000);
    for (const [key, { revocation }] of this.#kept) {
      if (revocation.expiresAtMs <= nowMs) this.#kept.delete(key);
    }
    const before = this.#version;
    const outcomes = revocations.map((revocation) => this.#add(revocation, nowMs));
    if (this.#version > before) for (const { added } of this.#listeners) added();
    return outcomes;
  }

  async since(mark: RevocationMark | undefined): Promise<RevocationNews> {
    const isWhole = mark?.epoch !== this.#epoch || mark.version > this.#version;
    const after = isWhole ? 0 : mark.version;
    const kept = [...this.#kept.values()].filter(({ version }) => version > after);
    return {
      mark: { epoch: this.#epoch, version: this.#version },
      isWhole,
      revocations: kept.map(({ revocation }) => revocation),
    };
  }

  async listen(listener: RevocationListener): Promise<void> {
    this.#listeners.add({ added: () => listener.added(), interrupted: () => listener.interrupted() });
  }

  close(): void {
    this.#listeners.clear();
  }

  #add(revocation: Revocation, nowMs: number): AddOutcome {
    if (revocation.expiresAtMs <= nowMs) return "kept";
    const key = revocationKey(revocation);
    const known = this.#kept.get(key)?.revocation;
    const widened = known === undefined ? revocation : widen(known, revocation);
    if (widened === known) return "kept";
    if (known === undefined && this.#kept.size >= this.#maxRevocations) return "full";
    if (this.#epoch === "") this.#epoch = randomUUID();
    this.#version += 1;
    this.#kept.delete(key);
    this.#kept.set(key, { revocation: widened, version: this.#version });
    return "kept";
  }
}
