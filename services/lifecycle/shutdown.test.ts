/** How a process ends, with a stand-in for the process and for time. */
import { EventEmitter, once } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Shutdown, type EndingProcess, type ShutdownStage } from "./shutdown.js";

class FakeProcess extends EventEmitter implements EndingProcess {
  readonly exits: number[] = [];

  exit(code: number): void {
    this.exits.push(code);
    this.emit("exited");
  }
}

interface Line {
  readonly level: "info" | "warn" | "fatal";
  readonly fields: object;
  readonly message: string;
}

let fake: FakeProcess;
let lines: Line[];
let ran: string[];

beforeEach(() => {
  vi.useFakeTimers();
  fake = new FakeProcess();
  lines = [];
  ran = [];
});
afterEach(() => vi.useRealTimers());

function stage(name: string, run: () => Promise<void> | void = () => undefined): ShutdownStage {
  return {
    name,
    timeoutMs: 100,
    run: () => {
      ran.push(name);
      return run();
    },
  };
}

function install(stages: readonly ShutdownStage[], deadlineMs = 1000): Shutdown {
  const log = (level: Line["level"]) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
  };
  const logger = { info: log("info"), warn: log("warn"), fatal: log("fatal") };
  return new Shutdown({ process: fake, logger, stages, deadlineMs }).install();
}

const never = (): Promise<void> => new Promise(() => undefined);

describe("a signal", () => {
  test.each(["SIGTERM", "SIGINT"])(
    "%s runs the stages in order, each after the one before, and exits with 0",
    async (signal) => {
      let release: () => void = () => undefined;
      install([
        stage("not ready"),
        stage("tell", () => new Promise((resolve) => (release = resolve))),
        stage("close"),
      ]);
      const exited = once(fake, "exited");
      fake.emit(signal);
      await vi.advanceTimersByTimeAsync(50);
      expect([ran, fake.exits]).toEqual([["not ready", "tell"], []]);
      release();
      await exited;
      expect([ran, fake.exits]).toEqual([["not ready", "tell", "close"], [0]]);
      expect(vi.getTimerCount()).toBe(0);
    },
  );

  test("that comes again starts nothing twice", async () => {
    install([stage("close", () => new Promise((resolve) => setTimeout(resolve, 50)))]);
    fake.emit("SIGTERM");
    fake.emit("SIGTERM");
    await vi.advanceTimersByTimeAsync(60);
    expect([ran, fake.exits]).toEqual([["close"], [0]]);
  });

  test("SIGINT during the shutdown ends the process at once, and once", async () => {
    install([stage("close", never), stage("never reached")]);
    fake.emit("SIGTERM");
    await vi.advanceTimersByTimeAsync(10);
    fake.emit("SIGINT");
    expect(fake.exits).toEqual([130]);
    await vi.advanceTimersByTimeAsync(5000);
    expect([ran, fake.exits]).toEqual([["close"], [130]]);
  });
});

describe("a stage", () => {
  test("that fails, at once or later, is logged and the next one begins", async () => {
    install([
      stage("throws", () => {
        throw new Error("first");
      }),
      stage("rejects", () => Promise.reject(new Error("second"))),
      stage("close"),
    ]);
    fake.emit("SIGTERM");
    await vi.advanceTimersByTimeAsync(0);
    expect([ran, fake.exits]).toEqual([["throws", "rejects", "close"], [0]]);
    expect(lines.filter(({ level }) => level === "warn")).toMatchObject([
      { fields: { stage: "throws", error: { message: "first" } } },
      { fields: { stage: "rejects", error: { message: "second" } } },
    ]);
  });

  test("that takes too long is named and left behind", async () => {
    install([stage("slow", never), stage("close")]);
    fake.emit("SIGTERM");
    await vi.advanceTimersByTimeAsync(99);
    expect(ran).toEqual(["slow"]);
    await vi.advanceTimersByTimeAsync(1);
    expect([ran, fake.exits]).toEqual([["slow", "close"], [0]]);
    expect(lines.find(({ level }) => level === "warn")?.fields).toMatchObject({ stage: "slow" });
  });
});

test("the deadline ends the process and names the stage that hung", async () => {
  install([{ ...stage("hangs", never), timeoutMs: 60_000 }, stage("never reached")], 1000);
  fake.emit("SIGTERM");
  await vi.advanceTimersByTimeAsync(999);
  expect(fake.exits).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect([ran, fake.exits]).toEqual([["hangs"], [1]]);
  expect(lines.at(-1)).toMatchObject({ level: "fatal", fields: { stage: "hangs" } });
});

describe("an error that nobody caught", () => {
  test.each(["uncaughtException", "unhandledRejection"])(
    "%s is logged, and the process ends in the same order with 1",
    async (event) => {
      install([stage("not ready"), stage("close")]);
      fake.emit(event, new Error("boom"));
      await vi.advanceTimersByTimeAsync(0);
      expect([ran, fake.exits]).toEqual([["not ready", "close"], [1]]);
      expect(lines[0]).toMatchObject({ level: "fatal", fields: { error: { message: "boom" } } });
    },
  );

  test("may be anything that was thrown", async () => {
    install([]);
    fake.emit("unhandledRejection", "just a text");
    await vi.advanceTimersByTimeAsync(0);
    expect(lines[0]?.fields).toMatchObject({ error: { message: "thrown: just a text" } });
  });

  test("during a shutdown turns its exit code to 1 and does not start it again", async () => {
    install([stage("close", () => new Promise((resolve) => setTimeout(resolve, 50)))]);
    fake.emit("SIGTERM");
    fake.emit("uncaughtException", new Error("late"));
    await vi.advanceTimersByTimeAsync(60);
    expect([ran, fake.exits]).toEqual([["close"], [1]]);
  });
});

test("a real process fits", () => {
  const shutdown = new Shutdown({
    process,
    logger: { info: () => undefined, warn: () => undefined, fatal: () => undefined },
    stages: [],
    deadlineMs: 1,
  });
  expect(shutdown.hasBegun).toBe(false);
});
