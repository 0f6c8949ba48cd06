/** A fanout that is killed, ended, frozen or started again under steady traffic: no socket notices. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
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

async function untilAllAreLinked(): Promise<void> {
  await waitFor(async () => (await cluster.readyLinks()).every((links) => links === 2), {
    what: "a link from every edge to every fanout",
    timeoutMs: 15_000,
  });
}

function fanout(index: number) {
  const service = cluster.fanouts[index];
  if (service === undefined) throw new Error(`there is no fanout ${index}`);
  return service;
}

describe("with two edges, two fanouts and steady traffic", () => {
  it("kill -9 of a fanout closes no socket, loses no status and no answer, and it takes its share again", async () => {
    traffic = await Traffic.start(cluster, { statusesThrough: 1 });
    await untilBothHaveSessions();

    await fanout(0).kill();
    await traffic.untilItFlows(5000);

    await cluster.startFanout(0);
    await untilAllAreLinked();
    await untilBothHaveSessions();
    await traffic.untilItFlows(5000);
    await traffic.stopAndCheck();
  });

  it("SIGTERM of a fanout moves its sessions with a short pause, and it exits 0 within 10 s", async () => {
    traffic = await Traffic.start(cluster, { statusesThrough: 1 });
    await untilBothHaveSessions();

    const ended = fanout(0).stop(10_000);
    await traffic.untilItFlows(2000);
    expect(await ended).toEqual({ code: 0, signal: null });
    await traffic.untilItFlows(2000);
    await traffic.stopAndCheck();
  });

  it("a frozen fanout is noticed within 5 s, and does no harm when it wakes up", async () => {
    traffic = await Traffic.start(cluster, { statusesThrough: 1 });
    await untilBothHaveSessions();

    fanout(0).freeze();
    await traffic.untilItFlows(6500);

    fanout(0).thaw();
    await untilAllAreLinked();
    await untilBothHaveSessions();
    await traffic.untilItFlows(5000);
    await traffic.stopAndCheck();
  });

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
