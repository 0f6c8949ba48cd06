/** A session on a link whose far end only remembers what it was told: for unit tests of what sessions do. */
import { FanoutLink } from "#fanout/link/fanout-link.js";
import { Allowances } from "#fanout/limits/allowances.js";
import { MemoryLimits } from "#fanout/limits/limits-memory.js";
import type { SessionAllowance } from "#fanout/limits/session-allowance.js";
import { ResumableRecord } from "#fanout/session/resumable-record.js";
import { Session, type SessionOptions } from "#fanout/session/session.js";
import { FanoutCounters } from "#fanout/fanout-counters.js";
import { Framing, OpenSession, Principal, type FanoutItem } from "#proto/gen/realtime/link/v1/link.js";
import { SILENT } from "./fanout-core.js";
import { FakeEdge } from "./fake-edge.js";
import { RAISED_RATE_LIMITS } from "./raised-limits.js";

class RememberingLink extends FanoutLink {
  readonly sent: NonNullable<FanoutItem["item"]>[] = [];
  readonly acknowledged: number[] = [];

  override send(item: NonNullable<FanoutItem["item"]>): void {
    this.sent.push(item);
  }

  override acknowledge(_session: number, upSequence: number): void {
    this.acknowledged.push(upSequence);
  }
}

const nothing = (): void => undefined;

function raised(principal: Principal): SessionAllowance {
  return new Allowances({
    limits: new MemoryLimits(),
    rateLimits: RAISED_RATE_LIMITS,
    counters: new FanoutCounters(),
    nowMs: () => performance.now(),
  }).enter(principal);
}

export function rememberedSession(options: {
  readonly handle: SessionOptions["handle"];
  readonly open?: Partial<OpenSession>;
  readonly principal?: Partial<Principal>;
  /** Default: more than a test sends. */
  readonly allowance?: SessionAllowance;
}) {
  const link = new RememberingLink({
    stream: new FakeEdge(),
    fanoutId: "fanout-1",
    incarnation: "incarnation",
    version: "test",
    counters: new FanoutCounters(),
    logger: SILENT,
    nowMs: () => 0,
    listener: {
      greeted: nothing,
      open: nothing,
      frame: nothing,
      confirm: nothing,
      close: nothing,
      release: nothing,
      verified: nothing,
      status: () => ({ sessions: 0, onlineUsers: 0, dependencies: [], storeTimeUs: 0, accepting: true }),
      ended: nothing,
    },
  });
  const principal = {
    ...Principal.fromPartial({}),
    app: "default",
    userId: "p1",
    role: "porter",
    ...options.principal,
  };
  const session = new Session({
    link,
    open: {
      ...OpenSession.fromPartial({}),
      session: 1,
      connectionId: "connection-1",
      framing: Framing.FRAMING_PROTOBUF,
      namespace: "native",
      nextUpSequence: 1,
      ...options.open,
    },
    principal,
    resumable: new ResumableRecord({
      app: principal.app,
      userId: principal.userId,
      connectionId: "connection-1",
      sessionId: "session-1",
      generation: 1,
      isGenerationConfirmed: false,
    }),
    allowance: options.allowance ?? raised(principal),
    sampleCounter: 0,
    handle: options.handle,
  });
  return { session, link, sent: link.sent, acknowledged: link.acknowledged };
}
