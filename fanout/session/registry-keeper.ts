/**
 * Keeps the registry true to the sessions that live here: what could not be written is written later, and
 * records are written again at an interval and after the store was away, because it may have lost them and
 * they have a lifetime. Paced and bounded: no live session waits for it.
 */
import type { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import type { SessionRegistry } from "./session-registry.js";

interface Owed {
  readonly record: SessionRecord;
  readonly action: "put" | "remove";
  /** It is being written. */
  isInFlight: boolean;
}

/** Written a second, at most, beside what sessions write themselves. */
const WRITES_PER_TICK = 200;
/** Beyond so many the oldest is given up: the lease of its edge or its lifetime ends it. */
const MAX_OWED = 100_000;

export class RegistryKeeper {
  readonly #registry: Pick<SessionRegistry, "put" | "admit" | "remove">;
  readonly #owed = new Map<string, Owed>();

  constructor(registry: Pick<SessionRegistry, "put" | "admit" | "remove">) {
    this.#registry = registry;
  }

  /** Records that are still to be written or removed. */
  get owed(): number {
    return this.#owed.size;
  }

  /** Writes a record now; one that fails is written later. @throws GatewayError unavailable. */
  put(record: SessionRecord): Promise<void> {
    return this.#write({ record, action: "put", isInFlight: false });
  }

  /** As `put`, with what the port's `admit` answers. @throws GatewayError unavailable. */
  async admit(record: SessionRecord, many: number): Promise<readonly SessionRecord[]> {
    const owed: Owed = { record, action: "put", isInFlight: false };
    return this.#writing(owed, () => this.#registry.admit(record, many));
  }

  /** Removes a record now; one that fails is removed later. @throws GatewayError unavailable. */
  remove(record: SessionRecord): Promise<void> {
    return this.#write({ record, action: "remove", isInFlight: false });
  }

  /** Has the records of live sessions written again, at the pace of ticks. */
  refresh(records: Iterable<SessionRecord>): void {
    for (const record of records) {
      if (this.#owed.get(record.connectionId)?.action !== "remove")
        this.#owe({ record, action: "put", isInFlight: false });
    }
  }

  /** Called once a second. Resolves when the writes of this tick are over. */
  async tick(): Promise<void> {
    const batch: Owed[] = [];
    for (const owed of this.#owed.values()) {
      if (owed.isInFlight) continue;
      if (batch.push(owed) >= WRITES_PER_TICK) break;
    }
    await Promise.allSettled(batch.map((owed) => this.#write(owed)));
  }

  #write(owed: Owed): Promise<void> {
    return this.#writing(owed, () => this.#registry[owed.action](owed.record));
  }

  /** Owed until it is written. */
  async #writing<Result>(owed: Owed, write: () => Promise<Result>): Promise<Result> {
    this.#owe(owed);
    owed.isInFlight = true;
    try {
      const result = await write();
      // Something newer may be owed of the same connection by now.
      if (this.#owed.get(owed.record.connectionId) === owed) this.#owed.delete(owed.record.connectionId);
      return result;
    } finally {
      owed.isInFlight = false;
    }
  }

  #owe(owed: Owed): void {
    this.#owed.delete(owed.record.connectionId);
    this.#owed.set(owed.record.connectionId, owed);
    if (this.#owed.size <= MAX_OWED) return;
    for (const oldest of this.#owed.keys()) {
      this.#owed.delete(oldest);
      return;
    }
  }
}
