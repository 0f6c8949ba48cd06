/** What fanouts that are killed, ended or frozen under load do to sockets is in `test/faults`; here is what its load has not. */
import { afterEach, beforeEach, describe, it } from "vitest";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { Traffic } from "./traffic.js";

let cluster: Cluster;
let traffic: Traffic | undefined;

beforeEach(async () => {
  cluster = await Cluster.start();
});

afterEach(async () => {
  traffic?.stop();
  traffic = undefined;
  await cluster.stop();
});

function sessionsPerFanout(): Promise<number[]> {
  return Promise.all(cluster.fanouts.map((fanout) => cluster.metric(fanout, "realtime_sessions")));
}

async function untilBothHaveSessions(): Promise<void> {
  await waitFor(async () => (await sessionsPerFanout()).every((sessions) => sessions > 0), {
    what: "sessions on both fanouts",
    timeoutMs: 20_000,
  });
}

function fanout(index: number) {
  const service = cluster.fanouts[index];
  if (service === undefined) throw new Error(`there is no fanout ${index}`);
  return service;
}

describe("with two edges, two fanouts and steady traffic", () => {
  it("the very first status of an order reaches followers that have no home when it is published", async () => {
    traffic = await Traffic.start(cluster);
    await untilBothHaveSessions();

    fanout(0).freeze();
    const api = cluster.api(1);
    for (const order of traffic.orders) await traffic.publishStatus(order, api);
    await traffic.untilItFlows(7000);
    await traffic.stopAndCheck();
  });
});
