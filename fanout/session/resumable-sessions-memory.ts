/** Resumable sessions in this process: the embedded default. Records whose time is over are swept once a minute. */
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import {
  MAX_RESUMABLE_SESSIONS,
  REMOVED_FOR_MS,
  type Cursor,
  type ResumableSessions,
  type ResumeAnswer,
  type ResumeClaim,
  type SaveOutcome,
  type SessionOwner,
  type SessionSave,
} from "./resumable-sessions.js";

interface Kept {
  readonly generation: number;
  /** The oldest token that is accepted while the generation is not confirmed, or from the same connection. */
  readonly oldestGeneration: number;
  readonly isGenerationConfirmed: boolean;
  readonly connectionId: string;
  readonly replacedConnectionId: string;
  readonly homeStampUs: number;
  readonly savedAtMs: number;
  readonly cursors: Map<string, Cursor>;
}

const DAY_MS = 24 * 3_600_000;
const SWEEP_MS = 60_000;

export class MemoryResumableSessions implements ResumableSessions {
  readonly ttlMs: number;
  readonly #clock: StoreClock;
  /** By app and user, then session, in the order of the last saves. */
  readonly #users = new Map<string, Map<string, Kept>>();
  /** Until when it is known that a session was removed. */
  readonly #removed = new Map<string, number>();
  #sweptAtMs = 0;

  constructor(options: { readonly clock?: StoreClock; readonly ttlMs?: number } = {}) {
    this.#clock = options.clock ?? new SystemClock();
    this.ttlMs = options.ttlMs ?? DAY_MS;
  }

  /** How many users have records, living or not yet swept. */
  get size(): number {
    return this.#users.size;
  }

  async save(save: SessionSave): Promise<SaveOutcome> {
    this.#sweepWhenDue();
    const stored = this.#find(save, save.sessionId);
    if ((this.#removed.get(sessionKey(save, save.sessionId)) ?? 0) > this.#nowMs()) return "removed";
    if (stored === undefined && !save.isWhole) return "missing";
    if (stored !== undefined && stored.generation > save.generation) return "replaced";
    const isSame = stored?.generation === save.generation;
    if (isSame && stored.homeStampUs > save.homeStampUs) return "superseded";
    const cursors = new Map(save.isWhole ? [] : stored?.cursors);
    for (const [channel, cursor] of save.cursors) {
      if (cursor === "removed") cursors.delete(channel);
      else cursors.set(channel, cursor);
    }
    this.#keep(save, save.sessionId, {
      generation: save.generation,
      oldestGeneration: isSame ? stored.oldestGeneration : save.generation,
      isGenerationConfirmed: save.isGenerationConfirmed || (isSame && stored.isGenerationConfirmed),
      connectionId: save.connectionId,
      replacedConnectionId: stored?.replacedConnectionId ?? "",
      homeStampUs: save.homeStampUs,
      savedAtMs: this.#nowMs(),
      cursors,
    });
    return "saved";
  }

  async remove(owner: SessionOwner, sessionId: string): Promise<boolean> {
    const key = userKey(owner);
    const found = this.#find(owner, sessionId) !== undefined;
    if (found) this.#removed.set(sessionKey(owner, sessionId), this.#nowMs() + REMOVED_FOR_MS);
    const ofUser = this.#users.get(key);
    ofUser?.delete(sessionId);
    if (ofUser?.size === 0) this.#users.delete(key);
    return found;
  }

  async resume(claim: ResumeClaim): Promise<ResumeAnswer> {
    const stored = this.#find(claim, claim.sessionId);
    if (stored === undefined) return { outcome: "gone" };
    if (claim.homeStampUs < stored.homeStampUs) return { outcome: "superseded" };
    const isSameConnection = stored.connectionId === claim.connectionId;
    const isNewestDue = stored.isGenerationConfirmed && !isSameConnection;
    const oldest = isNewestDue ? stored.generation : stored.oldestGeneration;
    if (claim.generation < oldest) return { outcome: "used" };
    const generation = Math.max(stored.generation, claim.generation) + 1;
    const replacedConnectionId = isSameConnection ? stored.replacedConnectionId : stored.connectionId;
    this.#keep(claim, claim.sessionId, {
      generation,
      oldestGeneration: claim.generation,
      isGenerationConfirmed: false,
      connectionId: claim.connectionId,
      replacedConnectionId,
      homeStampUs: claim.homeStampUs,
      savedAtMs: this.#nowMs(),
      cursors: stored.cursors,
    });
    return { outcome: "resumed", generation, replacedConnectionId, cursors: new Map(stored.cursors) };
  }

  #find(owner: SessionOwner, sessionId: string): Kept | undefined {
    const kept = this.#users.get(userKey(owner))?.get(sessionId);
    return kept !== undefined && this.#isAlive(kept) ? kept : undefined;
  }

  #keep(owner: SessionOwner, sessionId: string, kept: Kept): void {
    const key = userKey(owner);
    const ofUser = this.#users.get(key) ?? new Map<string, Kept>();
    this.#users.set(key, ofUser);
    ofUser.delete(sessionId);
    ofUser.set(sessionId, kept);
    if (ofUser.size <= MAX_RESUMABLE_SESSIONS) return;
    for (const oldest of ofUser.keys()) {
      ofUser.delete(oldest);
      return;
    }
  }

  #isAlive({ savedAtMs }: Kept): boolean {
    return savedAtMs + this.ttlMs > this.#nowMs();
  }

  #nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }

  #sweepWhenDue(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptAtMs < SWEEP_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [session, untilMs] of this.#removed) if (untilMs <= nowMs) this.#removed.delete(session);
    for (const [key, ofUser] of this.#users) {
      for (const [sessionId, kept] of ofUser) if (!this.#isAlive(kept)) ofUser.delete(sessionId);
      if (ofUser.size === 0) this.#users.delete(key);
    }
  }
}

function userKey({ app, userId }: SessionOwner): string {
  return JSON.stringify([app, userId]);
}

function sessionKey({ app, userId }: SessionOwner, sessionId: string): string {
  return JSON.stringify([app, userId, sessionId]);
}
