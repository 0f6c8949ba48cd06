import { beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { gate } from "#test/support/fanout-core.js";
import { RegistryKeeper } from "./registry-keeper.js";
import { MemorySessionRegistry } from "./session-registry-memory.js";

const EDGE = "edge-incarnation";
let memory: MemorySessionRegistry;
let isAway: boolean;
let keeper: RegistryKeeper;
let writes: string[];
let held: Promise<void> | undefined;

const fail = (): Promise<never> => Promise.reject(new GatewayError("unavailable", "away"));

beforeEach(async () => {
  isAway = false;
  writes = [];
  held = undefined;
  memory = new MemorySessionRegistry();
  await memory.renewEdge(EDGE, 60_000);
  keeper = new RegistryKeeper({
    put: (record) => write("put", () => memory.put(record)),
    admit: (record, many) => write("admit", () => memory.admit(record, many)),
    remove: (record) => write("remove", () => memory.remove(record)),
  });
});

async function write<Result>(what: string, into: () => Promise<Result>): Promise<Result> {
  writes.push(what);
  await held;
  return isAway ? fail() : into();
}

function record(connectionId: string): SessionRecord {
  return SessionRecord.fromPartial({
    connectionId,
    app: "default",
    userId: "u1",
    edgeIncarnation: EDGE,
    generation: 1,
  });
}

async function connected(): Promise<string[]> {
  const records = await memory.ofUser("default", "u1");
  return records.map(({ connectionId }) => connectionId).sort();
}

describe("records of sessions", () => {
  it("that could not be written are written when the store is back", async () => {
    isAway = true;
    await expect(keeper.put(record("a"))).rejects.toMatchObject({ kind: "unavailable" });
    await keeper.tick();
    expect([keeper.owed, await connected()]).toEqual([1, []]);
    isAway = false;
    await keeper.tick();
    expect([keeper.owed, await connected()]).toEqual([0, ["a"]]);
  });

  it("of sockets that closed while the store was away are removed when it is back", async () => {
    await keeper.put(record("a"));
    isAway = true;
    await expect(keeper.remove(record("a"))).rejects.toMatchObject({ kind: "unavailable" });
    isAway = false;
    await keeper.tick();
    expect([keeper.owed, await connected()]).toEqual([0, []]);
  });

  it("that the store lost are written again, and never one of a socket that has closed", async () => {
    const records = ["a", "b"].map(record);
    for (const each of records) await keeper.put(each);
    for (const each of records) await memory.remove(each);
    isAway = true;
    await keeper.remove(record("b")).catch(() => undefined);
    isAway = false;
    keeper.refresh(records);
    await keeper.tick();
    expect([keeper.owed, await connected()]).toEqual([0, ["a"]]);
  });

  it("are not written once more while they are being written", async () => {
    const { opened, open } = gate();
    held = opened;
    const writing = [keeper.admit(record("a"), 9), keeper.put(record("b")), keeper.remove(record("c"))];
    const ticking = keeper.tick();
    open();
    await Promise.all([...writing, ticking]);
    expect(writes).toEqual(["admit", "put", "remove"]);
    expect(keeper.owed).toBe(0);
  });

  it("are written again at a pace", async () => {
    keeper.refresh(Array.from({ length: 450 }, (_, index) => record(`c${index}`)));
    await keeper.tick();
    expect(await connected()).toHaveLength(200);
    await keeper.tick();
    await keeper.tick();
    expect([keeper.owed, (await connected()).length]).toEqual([0, 450]);
  });
});
