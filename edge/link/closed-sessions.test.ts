import { expect, it } from "vitest";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { FakeFanout, settled } from "#test/support/fake-fanout.js";
import { sessionOnFakeSocket } from "#test/support/session-on-fake-socket.js";
import { EdgeCounters } from "../edge-counters.js";
import { StoreTime } from "../store-time.js";
import { EdgeLink } from "./edge-link.js";

const STATUS = { sessions: 0, onlineUsers: 0, dependencies: [], storeTimeUs: 0, accepting: true };

async function link(): Promise<{ readonly link: EdgeLink; readonly fanout: FakeFanout }> {
  const [ours, theirs] = loopbackLink();
  const nothing = (): void => undefined;
  const link = new EdgeLink({
    stream: ours,
    edgeId: "edge-0",
    incarnation: "1",
    version: "test",
    counters: new EdgeCounters(),
    nowMs: () => 0,
    clock: new StoreTime(() => 0),
    listener: {
      ready: nothing,
      draining: nothing,
      verify: nothing,
      refreshed: nothing,
      released: nothing,
      ended: nothing,
    },
  });
  return { link, fanout: new FakeFanout("a", theirs) };
}

function openAndClose(link: EdgeLink, ...numbers: readonly number[]): void {
  for (const number of numbers) {
    const { session } = sessionOnFakeSocket(number);
    link.open(session);
    link.close(session, "client");
  }
}

const unheard = ({ closed }: EdgeLink): readonly number[] =>
  closed.take().map(({ session }) => session.number);

it("are known until their home has answered a status that went out behind their end", async () => {
  const { link: edge, fanout } = await link();
  fanout.hello();
  await settled();
  openAndClose(edge, 1, 2);
  edge.tick(0);
  openAndClose(edge, 3);
  fanout.say({ $case: "status", value: { ...STATUS, sequence: 0 } });
  fanout.say({ $case: "status", value: { ...STATUS, sequence: 1 } });
  await settled();
  expect(unheard(edge)).toEqual([3]);
  expect(unheard(edge)).toEqual([]);
});

it("stay known where their end still waits for credit when the status goes", async () => {
  const { link: edge, fanout } = await link();
  fanout.hello({ creditBytes: 0 });
  await settled();
  openAndClose(edge, 1);
  edge.tick(0);
  fanout.say({ $case: "status", value: { ...STATUS, sequence: 1 } });
  await settled();
  expect(fanout.heard("close")).toEqual([]);
  expect(unheard(edge)).toEqual([1]);
});
