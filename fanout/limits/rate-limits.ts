/**
 * What is limited, and at what: the classes of client frames, the bucket of each class, and which roles have
 * others. A new body has to be given a class here before it compiles. There is no way to have no limit.
 */
import type { ClientBodyType } from "#fanout/session/frame-handler.js";

/** So many at once and in each window: a full bucket holds `count` tokens, an empty one is full after `windowMs`. */
export interface RateLimit {
  readonly count: number;
  readonly windowMs: number;
}

/** The classes whose buckets a user's devices share, wherever they are connected. */
export const SHARED_CLASSES = ["general", "location", "chat"] as const;
export type SharedClass = (typeof SHARED_CLASSES)[number];

/** Heartbeats have no effect, and must be answered also where everything else is refused: each socket has its own. */
export type FrameClass = SharedClass | "ping";
export const FRAME_CLASSES: readonly FrameClass[] = [...SHARED_CLASSES, "ping"];

export type ClassLimits = Readonly<Record<FrameClass, RateLimit>>;

export interface RateLimits {
  readonly byClass: ClassLimits;
  /** What a role has instead. */
  readonly byRole: ReadonlyMap<string, Partial<ClassLimits>>;
  /** A socket with so many refusals in a window is closed. */
  readonly closeAfter: RateLimit;
}

export const DEFAULT_RATE_LIMITS: RateLimits = {
  byClass: {
    general: { count: 100, windowMs: 60_000 },
    location: { count: 1000, windowMs: 60_000 },
    chat: { count: 50, windowMs: 60_000 },
    ping: { count: 120, windowMs: 60_000 },
  },
  byRole: new Map(),
  closeAfter: { count: 100, windowMs: 10_000 },
};

const CLASS_OF: Readonly<Record<ClientBodyType, FrameClass>> = {
  authenticate: "general",
  resume: "general",
  subscribe: "general",
  unsubscribe: "general",
  locationUpdate: "location",
  chatSend: "chat",
  chatEdit: "chat",
  chatDelete: "chat",
  receipt: "general",
  typing: "general",
  offerAccept: "general",
  offerReject: "general",
  availability: "general",
  history: "general",
  presence: "general",
  custom: "general",
  listDevices: "general",
  endDevice: "general",
  unread: "general",
  nearby: "general",
  notificationSeen: "general",
  unseen: "general",
  ping: "ping",
};

/** Undefined: a frame that cannot be read. It has no effect, but it costs. */
export function classOf(body: ClientBodyType | undefined): FrameClass {
  return body === undefined ? "general" : CLASS_OF[body];
}

/** What a home may hold of a bucket in advance, and a crash may lose; where each frame is stored anyway, nothing. */
const LEASE_SHARE: Readonly<Record<SharedClass, number>> = { general: 0.05, location: 0.05, chat: 0 };

/** In whole tokens: one at least, for the frame that asks. */
export function leaseSize(limitClass: SharedClass, { count }: RateLimit): number {
  return Math.max(1, Math.floor(count * LEASE_SHARE[limitClass]));
}

export function limitsOfRole({ byClass, byRole }: RateLimits, role: string): ClassLimits {
  const own = byRole.get(role);
  return own === undefined ? byClass : { ...byClass, ...own };
}
