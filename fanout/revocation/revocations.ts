/**
 * What is revoked, on one fanout: keeps its copy true to the store, adds to both, and tells of each change so that
 * live sessions end. The store is asked once a second whatever it says by itself: a lost word costs a second. A
 * store that lost its data is given back what is known here, and what the log has that the store has not.
 */
import { GatewayError } from "#proto/errors.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { StoreClock } from "../store-clock.js";
import { revocationKey, type RevocableToken, type Revocation } from "./revocation.js";
import type { RevocationLog } from "./revocation-log.js";
import type { RevocationMark, RevocationStore } from "./revocation-store.js";
import { RevokedTokens } from "./revoked-tokens.js";

export interface RevocationsOptions {
  readonly store: RevocationStore;
  /** Absent where there is none. */
  readonly log?: RevocationLog;
  readonly clock: StoreClock;
  /** No token lives longer: so long a revocation is kept. */
  readonly maxTokenLifetimeMs: number;
  readonly maxRevocations: number;
  /** These tokens count no more: told once for each that is new here. */
  readonly onRevoked: (revocations: readonly Revocation[]) => void;
  readonly counters: Pick<FanoutCounters, "storeFailures" | "revocationsMade">;
  readonly logger: Logger;
}

/** A subject, and for a user since when tokens count; 0: those that were issued up to now are revoked. */
export type Revoke = Pick<Revocation, "app" | "subject" | "id" | "issuedBeforeMs">;

export type RevokeOutcome = { readonly expiresAtMs: number } | { readonly error: GatewayError };

const ASK_INTERVAL_MS = 1000;
const SWEEP_INTERVAL_MS = 60_000;
/** Edges accept tokens for a while after their end, and clocks differ. */
const EXPIRY_MARGIN_MS = 600_000;
/** What the log has not shown after so long is appended again. */
const LOG_PATIENCE_MS = 5000;
const LOGGED_AT_ONCE = 500;
const STORED_AT_ONCE = 5000;
const FULL_RETRY_MS = 60_000;

export class Revocations {
  readonly #options: RevocationsOptions;
  readonly #tokens: RevokedTokens;
  /** What the store lacks. Bounded as the copy is. */
  readonly #toStore = new Map<string, Revocation>();
  #mark: RevocationMark | undefined;
  #interruptions = 0;
  #isLoaded = false;
  #isListening = false;
  #pulling: Promise<void> | undefined;
  #pullAgain = false;
  #timer: NodeJS.Timeout | undefined;
  #sweptAtMs = 0;
  #loggedAtMs = 0;
  #isTicking = false;

  constructor(options: RevocationsOptions) {
    this.#options = options;
    this.#tokens = new RevokedTokens({ maxRevocations: options.maxRevocations });
  }

  get size(): number {
    return this.#tokens.size;
  }

  /** Times when one was not taken because too many are known: its tokens still count here. */
  get overflows(): number {
    return this.#tokens.overflows;
  }

  /** Those that the log is not known to have; 0 where there is none. */
  get unlogged(): number {
    return this.#options.log === undefined ? 0 : this.#tokens.unloggedCount;
  }

  start(): void {
    this.#timer = setInterval(() => void this.tick(), ASK_INTERVAL_MS).unref();
    void this.tick();
  }

  /** Begins to read the log. */
  async startLog(): Promise<void> {
    await this.#options.log?.start((revocations) => this.#heardFromLog(revocations));
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#options.store.close();
    await this.#options.log?.stop();
  }

  /** Resolves once all that was revoked before is known. @throws GatewayError unavailable. */
  async loaded(): Promise<void> {
    if (!this.#isLoaded) await this.#pull();
  }

  revokes(token: RevocableToken): boolean {
    return this.#tokens.revokes(token, this.#nowMs());
  }

  /** One outcome each. @throws GatewayError unavailable: some may have been kept. */
  async revoke(revokes: readonly Revoke[]): Promise<readonly RevokeOutcome[]> {
    const { store, counters, log, maxTokenLifetimeMs } = this.#options;
    const nowMs = this.#nowMs();
    const expiresAtMs = nowMs + maxTokenLifetimeMs + EXPIRY_MARGIN_MS;
    const revocations = revokes.map((each): Revocation => {
      const isUpToNow = each.subject === "user" && each.issuedBeforeMs === 0;
      // Tokens tell the second in which they were issued: this whole second is over with.
      const issuedBeforeMs = isUpToNow ? (Math.floor(nowMs / 1000) + 1) * 1000 : each.issuedBeforeMs;
      return { app: each.app, subject: each.subject, id: each.id, issuedBeforeMs, expiresAtMs };
    });
    const outcomes = await store.add(revocations);
    const kept = revocations.filter((_, index) => outcomes[index] === "kept");
    counters.revocationsMade += kept.length;
    const news = this.#take(kept, "elsewhere");
    // The log may be away: what it does not show is appended again.
    if (log !== undefined && news.length > 0) void this.#append(log, news);
    return revocations.map((_, index) =>
      outcomes[index] === "kept" ? { expiresAtMs } : { error: tooMany() },
    );
  }

  /** What is known to be revoked in an app. */
  list(asked: Parameters<RevokedTokens["list"]>[0]): readonly Revocation[] {
    return this.#tokens.list(asked, this.#nowMs());
  }

  /** Called once a second. Never rejects. */
  async tick(): Promise<void> {
    if (this.#isTicking) return;
    this.#isTicking = true;
    try {
      await this.#listen();
      await this.#pull();
      await this.#giveToStore();
    } catch {
      this.#options.counters.storeFailures += 1;
    }
    await this.#giveToLog();
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptAtMs >= SWEEP_INTERVAL_MS) {
      this.#sweptAtMs = nowMs;
      this.#tokens.sweep(nowMs);
    }
    this.#isTicking = false;
  }

  async #listen(): Promise<void> {
    if (this.#isListening) return;
    this.#isListening = true;
    try {
      await this.#options.store.listen({
        added: () => this.#pullSoon(),
        interrupted: () => {
          // Without a mark all is compared, and what the store has lost is found.
          this.#interruptions += 1;
          this.#mark = undefined;
          this.#pullSoon();
        },
      });
    } catch (thrown) {
      this.#isListening = false;
      throw thrown;
    }
  }

  #pullSoon(): void {
    this.#pull().catch(() => (this.#options.counters.storeFailures += 1));
  }

  /** Asks for what came since; who asks meanwhile is answered by an asking that begins after. */
  async #pull(): Promise<void> {
    if (this.#pulling !== undefined) {
      this.#pullAgain = true;
      await this.#pulling;
      return;
    }
    this.#pulling = this.#pullAll().finally(() => (this.#pulling = undefined));
    await this.#pulling;
  }

  async #pullAll(): Promise<void> {
    do {
      this.#pullAgain = false;
      await this.#pullOnce();
    } while (this.#wasAskedAgain());
  }

  // Asked after an await, where the compiler believes that nothing changed.
  #wasAskedAgain(): boolean {
    return this.#pullAgain;
  }

  async #pullOnce(): Promise<void> {
    const interruptions = this.#interruptions;
    const { mark, isWhole, revocations } = await this.#options.store.since(this.#mark);
    if (isWhole) {
      for (const missing of this.#tokens.missingIn(revocations, this.#nowMs())) this.#owe(missing);
    }
    this.#take(revocations, "elsewhere");
    // An interruption meanwhile wants all to be compared again.
    if (this.#interruptions === interruptions) this.#mark = mark;
    this.#isLoaded = true;
  }

  #heardFromLog(revocations: readonly Revocation[]): void {
    for (const news of this.#take(revocations, "log")) this.#owe(news);
  }

  #take(revocations: readonly Revocation[], from: "log" | "elsewhere"): readonly Revocation[] {
    const news = this.#tokens.take(revocations, this.#nowMs(), from);
    if (news.length > 0) this.#options.onRevoked(news);
    return news;
  }

  #owe(revocation: Revocation): void {
    this.#toStore.set(revocationKey(revocation), revocation);
  }

  async #giveToStore(): Promise<void> {
    const given = [...this.#toStore].slice(0, STORED_AT_ONCE);
    if (given.length === 0) return;
    const outcomes = await this.#options.store.add(given.map(([, revocation]) => revocation));
    for (const [key, revocation] of given) {
      if (this.#toStore.get(key) === revocation) this.#toStore.delete(key);
    }
    const full = outcomes.filter((outcome) => outcome === "full").length;
    const fields = { given: given.length, full };
    if (full > 0) this.#options.logger.error(fields, "the store has no room for all that is revoked");
    else this.#options.logger.info(fields, "the store was given revocations that it did not have");
  }

  async #giveToLog(): Promise<void> {
    const { log } = this.#options;
    const nowMs = this.#nowMs();
    if (log?.isCaughtUp() !== true || nowMs - this.#loggedAtMs < LOG_PATIENCE_MS) return;
    this.#loggedAtMs = nowMs;
    const unlogged = this.#tokens.unlogged(nowMs - LOG_PATIENCE_MS, LOGGED_AT_ONCE);
    if (unlogged.length > 0) await this.#append(log, unlogged);
  }

  /** Never rejects. */
  async #append(log: RevocationLog, revocations: readonly Revocation[]): Promise<void> {
    try {
      await log.append(revocations);
      this.#tokens.logged(revocations);
    } catch {
      this.#options.logger.warn({ count: revocations.length }, "revocations are not in their log yet");
    }
  }

  #nowMs(): number {
    return Math.floor(this.#options.clock.nowUs() / 1000);
  }
}

function tooMany(): GatewayError {
  return new GatewayError("rate_limited", "too many revocations are kept", { retryAfterMs: FULL_RETRY_MS });
}
