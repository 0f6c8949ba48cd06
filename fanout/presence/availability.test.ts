import { beforeEach, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { Publisher } from "#fanout/channel/publisher.js";
import { FanoutCounters } from "#fanout/fanout-counters.js";
import { SystemClock } from "#fanout/store-clock.js";
import { Availability } from "./availability.js";
import { PresenceAnnouncer } from "./presence-announcer.js";
import { PresenceCounters } from "./presence-counters.js";
import type { AvailableUser } from "./presence-store.js";

let written: AvailableUser[];
let isAway: boolean;
let availability: Availability;
let counters: FanoutCounters;
const worker = { principal: { app: "app", userId: "p1" } };
const SECOND_US = 1_000_000;

beforeEach(() => {
  written = [];
  isAway = false;
  counters = new FanoutCounters();
  const publisher = new Publisher({
    broker: new MemoryBroker(),
    clock: new SystemClock(),
    deliverLocally: () => undefined,
  });
  const store = {
    setAvailable: async (user: AvailableUser) => {
      if (isAway) throw new GatewayError("unavailable", "away");
      written.push(user);
      return [];
    },
    announced: () => Promise.resolve(),
  };
  const announcer = new PresenceAnnouncer({
    store,
    publisher,
    presenceCounters: new PresenceCounters(),
    counters,
  });
  availability = new Availability({ store, announcer, counters });
});

it("is written when it is news, and what is not only every half minute", () => {
  for (let second = 1; second <= 61; second++) availability.saidBeside(worker, true, second * SECOND_US);
  availability.saidBeside(worker, false, 62 * SECOND_US);
  const said = written.map(({ isAvailable, saidAtUs }) => [isAvailable, saidAtUs / SECOND_US]);
  expect(said).toEqual([
    [true, 1],
    [true, 31],
    [true, 61],
    [false, 62],
  ]);
});

it("is written with the next word where the store was away", async () => {
  isAway = true;
  availability.saidBeside(worker, true, SECOND_US);
  await vi.waitFor(() => expect(counters.storeFailures).toBe(1));
  isAway = false;
  availability.saidBeside(worker, true, 2 * SECOND_US);
  expect(written).toMatchObject([{ isAvailable: true, saidAtUs: 2 * SECOND_US }]);
});

it("is written with the next location where it was said while the store was away", async () => {
  availability.saidBeside(worker, true, SECOND_US);
  isAway = true;
  await expect(availability.say(worker, false, 2 * SECOND_US)).rejects.toThrow(GatewayError);
  isAway = false;
  availability.saidBeside(worker, false, 3 * SECOND_US);
  expect(written.at(-1)).toMatchObject({ isAvailable: false, saidAtUs: 3 * SECOND_US });
});
