/**
 * Whether workers take offers, as they say it: with `availability`, or beside their locations. A worker repeats it
 * with every location; only what is news is written, and what is not every half minute, because another device's
 * home may have written something else since.
 */
import { GatewayError } from "#proto/errors.js";
import { isAble } from "#fanout/policy/policy.js";
import type { FrameHandler } from "#fanout/session/frame-handler.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { PresenceAnnouncer } from "./presence-announcer.js";
import type { Announcement, PresenceStore } from "./presence-store.js";

/** The session of a worker. */
export interface Worker {
  readonly principal: { readonly app: string; readonly userId: string };
}

interface Said {
  readonly isAvailable: boolean;
  readonly saidAtUs: number;
}

const REPEAT_US = 30_000_000;

export class Availability {
  /** What a session said last; it lives as long as the session. */
  readonly #said = new WeakMap<Worker, Said>();

  constructor(
    private readonly options: {
      readonly store: Pick<PresenceStore, "setAvailable">;
      readonly announcer: PresenceAnnouncer;
      readonly counters: FanoutCounters;
    },
  ) {}

  /** Said beside something else, which does not wait for it. */
  saidBeside(worker: Worker, isAvailable: boolean, saidAtUs: number): void {
    const last = this.#said.get(worker);
    if (last?.isAvailable === isAvailable && saidAtUs - last.saidAtUs < REPEAT_US) return;
    this.say(worker, isAvailable, saidAtUs).catch(() => (this.options.counters.storeFailures += 1));
  }

  /** Resolves when it is stored. @throws GatewayError unavailable. */
  async say(worker: Worker, isAvailable: boolean, saidAtUs: number): Promise<void> {
    const { app, userId } = worker.principal;
    this.#said.set(worker, { isAvailable, saidAtUs });
    let announcements: readonly Announcement[];
    try {
      announcements = await this.options.store.setAvailable({ app, userId, isAvailable, saidAtUs });
    } catch (thrown) {
      // The next location says it again.
      this.#said.delete(worker);
      throw thrown;
    }
    // Watchers hear of it in a moment; nobody waits for that.
    void this.options.announcer.announce(announcements);
  }
}

export function availabilityHandler(availability: Availability): FrameHandler<"availability"> {
  return async ({ session, receivedAtUs }, { available }) => {
    if (!isAble(session.capability, "setAvailability")) {
      throw new GatewayError(
        "permission_denied",
        "only workers (porter, driver, delivery_partner) say whether they take offers",
      );
    }
    await availability.say(session, available, receivedAtUs);
    return undefined;
  };
}
