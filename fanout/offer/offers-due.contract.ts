/** What every store of offers promises of the look for what is due, with more offers than the harness has room for. */
import { expect, vi } from "vitest";
import { offerKeys } from "#fanout/redis/keys.js";
import { PARTITION_COUNT } from "#fanout/redis/partitions.js";
import { newOffer } from "./offer-request.js";
import type { Offers } from "./offers.js";

const EVERYWHERE = Array.from({ length: PARTITION_COUNT }, (_, index) => index);

/** 600 offers of one partition are overdue, and one of another that is looked at later. */
export async function expectFairLook(offers: Offers, { app }: { readonly app: string }): Promise<void> {
  const idsOf = (partition: number, count: number): string[] => {
    const ids: string[] = [];
    for (let number = 0; ids.length < count; number++) {
      const offerId = `fair-${number}`;
      if (offerKeys({ app, offerId }).partition.index === partition) ids.push(offerId);
    }
    return ids;
  };
  const [crowded, last] = [3, 100];
  for (const offerId of [...idsOf(crowded, 600), ...idsOf(last, 1)]) {
    const request = { app, offerId, subjectId: "42", mode: "all_at_once", candidates: ["p1"] } as const;
    const more = {
      timeLimitMs: 0,
      candidateTimeLimitMs: 0,
      data: undefined,
      correlationId: "",
      traceparent: "",
    };
    const offer = { ...newOffer({ ...request, ...more }), timeLimitMs: 1 };
    await offers.apply({ app, offerId }, { type: "create", offer });
  }
  const [lastId = ""] = idsOf(last, 1);
  const look = async (): Promise<void> => {
    const { overdue, undelivered, open } = await offers.due(EVERYWHERE, 0);
    expect(open).toBe(601);
    expect((await offers.due([last], 0)).open).toBe(1);
    expect(overdue).toContainEqual({ app, offerId: lastId });
    expect(undelivered).toContainEqual({ app, offerId: lastId });
    expect(overdue.length).toBeLessThan(600);
  };
  await vi.waitFor(look, { timeout: 5_000, interval: 10 });
}
