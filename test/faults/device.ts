/**
 * A device of the fleet: one session over as many sockets as it takes. When its socket is closed it comes back
 * on an edge that lets it in, resumes with the token of its last `welcome` where it has one, else subscribes
 * again from its positions; frames that were not answered are sent again with the same request id. It notes
 * what it sees in its record, and judges nothing.
 */
import WebSocket from "ws";
import type { LedgerPosition, ReaderRecord } from "./ledger.js";
import {
  encodeFrame,
  readFrame,
  type ClientBody,
  type Framing,
  type Heard,
  type HeardEvent,
} from "./app-frames.js";
import type { Random } from "#test/support/random.js";

export interface DeviceOptions {
  readonly name: string;
  readonly token: string;
  readonly framing: Framing;
  /** The URLs of the edges as they are now; it begins at the first. */
  readonly edges: () => readonly string[];
  readonly record: ReaderRecord;
  readonly random: Random;
  /** When it resumes: then what it has does not come again. */
  readonly tellsPositions: boolean;
  /** Its address, so that a fleet is not one client to an edge. */
  readonly localAddress?: string;
  /** False where the device says nothing at a return but subscribes anew. Default true. */
  readonly resumes?: boolean;
  /** Told of each event beside the record. */
  readonly onEvent?: (event: HeardEvent, atMs: number) => void;
}

interface Pending {
  readonly id: number;
  readonly body: ClientBody;
  readonly requestId: string;
  readonly answered: (answer: Heard | undefined) => void;
  readonly timer: NodeJS.Timeout;
}

const MIN_RETURN_MS = 50;
const MAX_RETURN_MS = 1000;
const HANDSHAKE_TIMEOUT_MS = 5000;
/** From here on a close code says not to come back. */
const DO_NOT_COME_BACK = 4200;

export class Device {
  readonly #options: DeviceOptions;
  readonly #channels = new Set<string>();
  readonly #positions = new Map<string, LedgerPosition>();
  readonly #pending = new Map<number, Pending>();
  /** The channel of each `subscribe` of the last return; void with the socket, because positions move on. */
  readonly #subscribing = new Map<number, string>();
  #websocket: WebSocket | undefined;
  #resumeToken = "";
  #nextId = 1;
  #edge = 0;
  #returns = 0;
  #welcomes = 0;
  #isOpen = false;
  #isStopped = false;
  #isSentAway = false;
  #returnTimer: NodeJS.Timeout | undefined;
  #opened: (() => void) | undefined;

  constructor(options: DeviceOptions) {
    this.#options = options;
  }

  get record(): ReaderRecord {
    return this.#options.record;
  }

  /** How many sockets its session has had. */
  get sockets(): number {
    return this.#welcomes;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Told not to come back. */
  get isSentAway(): boolean {
    return this.#isSentAway;
  }

  /** Resolves when the session is open. */
  async open(): Promise<void> {
    const opened = new Promise<void>((resolve) => (this.#opened = resolve));
    this.#connect();
    await opened;
  }

  /** Sends a frame until it is answered; undefined where it was not in time. */
  request(
    body: ClientBody,
    options: { requestId?: string; timeoutMs?: number } = {},
  ): Promise<Heard | undefined> {
    const id = this.#nextId++;
    return new Promise((answered) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        answered(undefined);
      }, options.timeoutMs ?? 10_000);
      const pending = { id, body, requestId: options.requestId ?? "", answered, timer };
      this.#pending.set(id, pending);
      if (this.#isOpen) this.#sendPending(pending);
    });
  }

  /** Sends a frame that wants no answer; false while there is no socket. */
  send(body: ClientBody): boolean {
    if (!this.#isOpen) return false;
    this.#send({}, body);
    return true;
  }

  async follow(channel: string): Promise<void> {
    const answer = await this.request({ $case: "subscribe", value: { channel } });
    if (answer?.type !== "subscribed")
      throw new Error(`${this.#options.name} may not follow ${channel}: ${JSON.stringify(answer)}`);
  }

  async unfollow(channel: string): Promise<void> {
    await this.request({ $case: "unsubscribe", value: { channel } });
    this.#channels.delete(channel);
    this.#positions.delete(channel);
  }

  /** As when its network goes away: the socket ends without a word. */
  drop(): void {
    this.#websocket?.terminate();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#returnTimer);
    for (const { timer, answered } of this.#pending.values()) {
      clearTimeout(timer);
      answered(undefined);
    }
    this.#pending.clear();
    this.#websocket?.terminate();
  }

  #connect(): void {
    if (this.#isStopped) return;
    const { edges, token, framing, localAddress } = this.#options;
    const urls = edges();
    const url = new URL(urls[this.#edge % urls.length] ?? "");
    const resumes = this.#resumeToken !== "" && this.#options.resumes !== false;
    if (resumes) url.searchParams.set("resume", "true");
    const websocket = new WebSocket(url, `realtime.v1.${framing}`, {
      headers: { authorization: `Bearer ${token}` },
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      perMessageDeflate: false,
      ...(localAddress !== undefined && { localAddress }),
    });
    this.#websocket = websocket;
    let retryAfterMs = 0;
    websocket.on("open", () => {
      if (resumes) this.#sendResume();
    });
    websocket.on("message", (data: Buffer) => {
      if (websocket === this.#websocket) this.#hear(readFrame(framing, data));
    });
    websocket.on("unexpected-response", (_, response) => {
      retryAfterMs = Number(response.headers["retry-after"] ?? 0) * 1000;
      response.resume();
      websocket.terminate();
    });
    // What went wrong is told by "close", which follows.
    websocket.on("error", () => undefined);
    websocket.on("close", (code) => {
      if (websocket === this.#websocket) this.#closed(code, retryAfterMs);
    });
  }

  #sendResume(): void {
    const positions = this.#options.tellsPositions ? Object.fromEntries(this.#positions) : {};
    this.#send({}, { $case: "resume", value: { resumeToken: this.#resumeToken, positions } });
  }

  #closed(code: number, retryAfterMs: number): void {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    this.#subscribing.clear();
    if (this.#isStopped) return;
    if (wasOpen) this.record.entries.push({ type: "closed", atMs: performance.now(), code });
    this.#isSentAway = code >= DO_NOT_COME_BACK && code < 5000;
    if (this.#isSentAway) return;
    this.#returns += 1;
    this.#edge += 1;
    const spreadMs = Math.min(MAX_RETURN_MS, MIN_RETURN_MS * 2 ** Math.min(this.#returns, 10));
    this.#return(retryAfterMs + spreadMs * (0.5 + this.#options.random.next() / 2));
  }

  #return(afterMs: number): void {
    clearTimeout(this.#returnTimer);
    this.#returnTimer = setTimeout(() => this.#connect(), afterMs);
  }

  #hear(heard: Heard): void {
    if (heard.type === "event") this.#note(heard.event, performance.now());
    else if (heard.type === "welcome") this.#welcomed(heard);
    else if (heard.type === "reconnect") this.#moveAfter(heard.afterMs);
    else if (heard.type === "subscribed") this.#subscribed(heard);
    else if (heard.type === "error") this.#subscribeRefused(heard.replyTo, heard);
    const pending = heard.replyTo === 0 ? undefined : this.#pending.get(heard.replyTo);
    if (pending === undefined) return;
    this.#pending.delete(pending.id);
    clearTimeout(pending.timer);
    pending.answered(heard);
  }

  /** Asked to leave: the old socket says nothing any more from when the new one is asked for. */
  #moveAfter(afterMs: number): void {
    const leaving = this.#websocket;
    clearTimeout(this.#returnTimer);
    this.#returnTimer = setTimeout(() => {
      if (leaving !== this.#websocket) return;
      if (this.#isOpen) this.record.entries.push({ type: "left", atMs: performance.now() });
      this.#isOpen = false;
      this.#edge += 1;
      this.#connect();
      leaving?.close(1000);
    }, afterMs);
  }

  #welcomed({ resumeToken, resumed }: Extract<Heard, { type: "welcome" }>): void {
    const offered = this.#resumeToken !== "" && this.#options.resumes !== false;
    this.#resumeToken = resumeToken;
    this.#isOpen = true;
    this.#returns = 0;
    const isReturn = this.#welcomes > 0;
    this.#welcomes += 1;
    if (isReturn) this.record.entries.push({ type: "back", atMs: performance.now(), resumed, offered });
    for (const pending of this.#pending.values()) this.#sendPending(pending);
    if (isReturn && !resumed) this.#subscribeAgain();
    this.#opened?.();
  }

  #subscribeAgain(): void {
    for (const channel of this.#channels) {
      // The user's own is followed unasked, from where the new session begins.
      if (channel.startsWith("user:")) this.#channels.delete(channel);
      else this.#subscribeAfter(channel);
    }
  }

  #subscribeAfter(channel: string): void {
    const after = this.#positions.get(channel);
    const id = this.#nextId++;
    this.#subscribing.set(id, channel);
    this.#send({ id }, { $case: "subscribe", value: { channel, after } });
  }

  /** A `subscribe` of a return that could not be served is tried again for as long as its socket lives. */
  #subscribeRefused(id: number, { retryAfterMs }: { retryAfterMs: number }): void {
    const channel = this.#subscribing.get(id);
    if (channel === undefined) return;
    setTimeout(
      () => {
        if (this.#subscribing.delete(id)) this.#subscribeAfter(channel);
      },
      Math.max(retryAfterMs, MIN_RETURN_MS),
    ).unref();
  }

  #subscribed(heard: Extract<Heard, { type: "subscribed" }>): void {
    const { channel, position, recovered, latest, replyTo } = heard;
    const atMs = performance.now();
    const isKnown = this.#channels.has(channel);
    this.#channels.add(channel);
    const isTold = isKnown && !recovered;
    this.#subscribing.delete(replyTo);
    if (isTold || !isKnown) this.#positions.set(channel, position);
    this.record.entries.push({ type: isTold ? "told" : "started", atMs, channel, position });
    for (const event of latest) this.#note(event, atMs);
  }

  #note(event: HeardEvent, atMs: number): void {
    const { channel, position, payload, location, id } = event;
    this.#options.onEvent?.(event, atMs);
    if (location !== undefined) {
      const { worker, number } = location;
      this.record.entries.push({ type: "location", atMs, channel, worker, number });
    }
    if (position === undefined) return;
    this.#positions.set(channel, position);
    this.record.entries.push({ type: "read", atMs, channel, position, eventId: id, payload: payload ?? id });
  }

  #sendPending({ id, body, requestId }: Pending): void {
    this.#send({ id, requestId }, body);
  }

  #send(frame: { id?: number; requestId?: string }, body: ClientBody): void {
    this.#websocket?.send(encodeFrame(this.#options.framing, frame, body));
  }
}
