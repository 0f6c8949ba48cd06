/** A frame that kills the fanout that deals with it: at most two die of it, and only its sender is told. */
import { afterEach, describe, expect, it } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { Traffic } from "./traffic.js";

let cluster: Cluster | undefined;
let traffic: Traffic | undefined;

afterEach(async () => {
  traffic?.stop();
  traffic = undefined;
  await cluster?.stop();
  cluster = undefined;
});

async function trafficWithHooks() {
  const running = (cluster = await Cluster.start({ fanouts: 3, env: { TEST_HOOKS: "true" } }));
  const flowing = (traffic = await Traffic.start(running, { orders: 3 }));
  const sender = await running.connect(0, "sender", "customer");
  return { running, flowing, sender };
}

function endedFanouts(running: Cluster) {
  return running.fanouts.filter((fanout) => fanout.process.exit !== undefined);
}

const INTERNAL = { $case: "error", value: { code: ErrorCode.ERROR_CODE_INTERNAL } };

describe("of three fanouts", () => {
  it("a frame that crashes its handler kills two; its sender gets internal, and no socket closes", async () => {
    const { running, flowing, sender } = await trafficWithHooks();
    const id = sender.send({ $case: "custom", value: { type: "test.crash", channel: "", data: undefined } });
    expect(await sender.answer(id, 15_000)).toMatchObject(INTERNAL);
    await waitFor(() => endedFanouts(running).length === 2, { what: "the end of two fanouts" });

    // Two of three dead at once: the edges suspect themselves and wait before they move sessions.
    await flowing.untilItFlows(15_000);
    expect(await sender.request({ $case: "ping", value: { clientTimeMs: 1 } })).toMatchObject({
      $case: "pong",
    });
    await flowing.stopAndCheck({ mayBeRefused: true });
    expect(endedFanouts(running)).toHaveLength(2);
    expect(sender.closedWith).toBeUndefined();
  });

  it("a frame that lets an exception escape ends two in order, which is logged; its sender gets internal", async () => {
    const { running, flowing, sender } = await trafficWithHooks();
    const id = sender.send({ $case: "custom", value: { type: "test.throw", channel: "", data: undefined } });
    const [first] = await waitFor(() => endedFanouts(running).length > 0 && endedFanouts(running), {
      what: "the end of a fanout",
      timeoutMs: 12_000,
    });
    expect(first?.process.exit).toEqual({ code: 1, signal: null });
    expect(first?.logs().map(({ message, msg }) => message ?? msg)).toContain(
      "the process ends: uncaughtException",
    );
    // Nobody but the sender waits for it: the others were taken elsewhere while it ended.
    await flowing.untilItFlows(2000);

    expect(await sender.answer(id, 15_000)).toMatchObject(INTERNAL);
    await waitFor(() => endedFanouts(running).length === 2, { what: "the end of the second fanout" });
    expect(sender.closedWith).toBeUndefined();
    await flowing.stopAndCheck();
    expect(endedFanouts(running)).toHaveLength(2);
  });
});
