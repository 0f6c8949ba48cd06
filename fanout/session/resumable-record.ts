/**
 * What the store shall know of one live session so that it can be resumed, and what of that is not saved yet.
 * Changes are kept by channel: a home knows only what it has changed itself, and leaves alone what an earlier
 * home has saved. When to save is the keeper's business.
 */
import type { StreamPosition } from "#fanout/channel/broker.js";
import type { Cursor, SessionSave } from "./resumable-sessions.js";

export interface ResumableRecordOptions {
  readonly app: string;
  readonly userId: string;
  readonly connectionId: string;
  readonly sessionId: string;
  readonly generation: number;
  readonly isGenerationConfirmed: boolean;
}

/** Beyond so many changes all is saved: there are not more channels than that to follow. */
const MAX_CHANGES = 256;

export class ResumableRecord {
  readonly #owner: { readonly app: string; readonly userId: string; readonly connectionId: string };
  /** Of every channel that is followed, by name; undefined where only the store knows it. */
  readonly #cursors = new Map<string, StreamPosition | undefined>();
  readonly #changed = new Set<string>();
  #sessionId: string;
  #generation: number;
  #isGenerationConfirmed: boolean;
  #homeStampUs = 0;
  #isChanged = false;
  #isWhole = false;
  /** Told of every change; set by who keeps the record. */
  onChange: (() => void) | undefined;
  /** Told once the session was resumed on another connection. */
  onReplaced: (() => void) | undefined;
  /** Told once the store says that the session was ended. */
  onRemoved: (() => void) | undefined;

  constructor(options: ResumableRecordOptions) {
    const { app, userId, connectionId } = options;
    this.#owner = { app, userId, connectionId };
    this.#sessionId = options.sessionId;
    this.#generation = options.generation;
    this.#isGenerationConfirmed = options.isGenerationConfirmed;
  }

  get sessionId(): string {
    return this.#sessionId;
  }

  get generation(): number {
    return this.#generation;
  }

  get isGenerationConfirmed(): boolean {
    return this.#isGenerationConfirmed;
  }

  /** When the session came here. */
  get homeStampUs(): number {
    return this.#homeStampUs;
  }

  get isDirty(): boolean {
    return this.#isChanged || this.#isWhole || this.#changed.size > 0;
  }

  /** The session is at a home since then. */
  at(homeStampUs: number): void {
    this.#homeStampUs = homeStampUs;
  }

  /** An earlier home followed these, and has saved how far the session got. */
  inherit(channels: Iterable<string>): void {
    for (const channel of channels) this.#cursors.set(channel, undefined);
  }

  /** It is an earlier session from here on, as the store says it is. */
  continueAs(earlier: {
    readonly sessionId: string;
    readonly generation: number;
    readonly homeStampUs: number;
    readonly cursors: ReadonlyMap<string, Cursor>;
  }): void {
    this.#sessionId = earlier.sessionId;
    this.#generation = earlier.generation;
    this.#isGenerationConfirmed = false;
    this.#homeStampUs = earlier.homeStampUs;
    for (const [channel, cursor] of earlier.cursors) {
      this.#cursors.set(channel, cursor === "unknown" ? undefined : cursor);
    }
  }

  /** The channel is followed. Without a cursor it stays where an earlier home has saved it. */
  follow(channel: string, cursor: StreamPosition | undefined): void {
    const known = this.#cursors.get(channel);
    const isNews = cursor === undefined ? !this.#cursors.has(channel) : !isSame(cursor, known);
    if (!isNews) return;
    this.#cursors.set(channel, cursor);
    this.#change(channel);
  }

  unfollow(channel: string): void {
    if (this.#cursors.delete(channel)) this.#change(channel);
  }

  /** The client has the channel's events up to here. Nothing goes back within an epoch. */
  confirm(channel: string, position: StreamPosition): void {
    const known = this.#cursors.get(channel);
    if (known?.epoch === position.epoch && known.offset >= position.offset) return;
    this.#cursors.set(channel, position);
    this.#change(channel);
  }

  /** The client has the token of this generation. */
  confirmGeneration(): void {
    this.#isGenerationConfirmed = true;
    this.touch();
    this.onChange?.();
  }

  /** It lives on: it is to be saved, changed or not. Not told as a change. */
  touch(): void {
    this.#isChanged = true;
  }

  /** Has everything saved: the store has nothing of it. */
  makeWhole(): void {
    this.#isWhole = true;
    this.#changed.clear();
  }

  /** What is to be saved; counts as saved until it is given back. */
  takeChanges(): SessionSave {
    const isWhole = this.#isWhole;
    const cursors = new Map<string, Cursor | "removed">();
    for (const channel of isWhole ? this.#cursors.keys() : this.#changed) {
      cursors.set(
        channel,
        this.#cursors.has(channel) ? (this.#cursors.get(channel) ?? "unknown") : "removed",
      );
    }
    this.#changed.clear();
    this.#isChanged = false;
    this.#isWhole = false;
    return {
      ...this.#owner,
      sessionId: this.#sessionId,
      generation: this.#generation,
      isGenerationConfirmed: this.#isGenerationConfirmed,
      homeStampUs: this.#homeStampUs,
      cursors,
      isWhole,
    };
  }

  /** It was not saved: what changed since is saved with it. */
  giveBack(save: SessionSave): void {
    this.#isChanged = true;
    if (save.isWhole) this.makeWhole();
    else for (const channel of save.cursors.keys()) this.#changed.add(channel);
  }

  #change(channel: string): void {
    this.#changed.add(channel);
    if (this.#changed.size > MAX_CHANGES) this.makeWhole();
    this.onChange?.();
  }
}

function isSame(left: StreamPosition, right: StreamPosition | undefined): boolean {
  return left.epoch === right?.epoch && left.offset === right.offset && left.tag === right.tag;
}
