/**
 * The frames of an app on a native framing, as cheap as a fleet of a hundred apps needs them: only what the
 * checker asks for is read. JSON is read by `JSON.parse` alone, so it also shows what a client without our
 * code would see; protobuf by the generated code.
 */
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { Event } from "#proto/gen/realtime/client/v1/event.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { domainBodyOf, domainBodyOfJson, type DomainBody, type JsonDomainBodies } from "./domain-bodies.js";
import type { LedgerPosition } from "./ledger.js";

export type Framing = "json" | "protobuf";
export type ClientBody = NonNullable<ClientFrame["body"]>;

export interface HeardEvent {
  readonly id: string;
  readonly channel: string;
  /** Absent for latest events. */
  readonly position: LedgerPosition | undefined;
  /** Of a durable event of the checker's own. */
  readonly payload: string | undefined;
  readonly location: { readonly worker: string; readonly number: number } | undefined;
  /** Of chat, offers and presence. */
  readonly domain: DomainBody | undefined;
}

export type Heard = { readonly replyTo: number } & (
  | { readonly type: "welcome"; readonly resumeToken: string; readonly resumed: boolean }
  | {
      readonly type: "subscribed";
      readonly channel: string;
      readonly position: LedgerPosition;
      readonly recovered: boolean;
      readonly latest: readonly HeardEvent[];
    }
  | { readonly type: "event"; readonly event: HeardEvent }
  | { readonly type: "reply"; readonly position: LedgerPosition | undefined; readonly id: string }
  | { readonly type: "error"; readonly code: string; readonly retryAfterMs: number }
  | { readonly type: "reconnect"; readonly afterMs: number }
  | { readonly type: "other" }
);

const NOWHERE: LedgerPosition = { epoch: "", offset: 0, tag: 0 };

const ERROR_NAMES = new Map(
  Object.entries(ErrorCode).map(([name, code]) => [code, name.replace("ERROR_CODE_", "").toLowerCase()]),
);

export function encodeFrame(framing: Framing, frame: Partial<Omit<ClientFrame, "body">>, body: ClientBody) {
  if (framing === "protobuf") {
    return Buffer.from(ClientFrame.encode({ ...EMPTY_FRAME, ...frame, body }).finish());
  }
  const { $case, value } = body;
  return JSON.stringify({ ...frame, [$case]: $case === "chatSend" ? withoutOneof(value) : value });
}

/** JSON has the fields of a oneof among the others. */
function withoutOneof({ target, ...fields }: Extract<ClientBody, { $case: "chatSend" }>["value"]): object {
  return target === undefined ? fields : { ...fields, [target.$case]: target.value };
}

const EMPTY_FRAME: ClientFrame = ClientFrame.fromPartial({});

export function readFrame(framing: Framing, data: Buffer): Heard {
  if (framing === "json") return readJson(JSON.parse(data.toString()) as JsonFrame);
  const { replyTo, body } = ServerFrame.decode(data);
  switch (body?.$case) {
    case "welcome":
      return { replyTo, type: "welcome", resumeToken: body.value.resumeToken, resumed: body.value.resumed };
    case "subscribed": {
      const { channel, position = NOWHERE, recovered, latest } = body.value;
      return { replyTo, type: "subscribed", channel, position, recovered, latest: latest.map(readEvent) };
    }
    case "event":
      return { replyTo, type: "event", event: readEvent(body.value) };
    case "reply":
      return { replyTo, type: "reply", position: body.value.position, id: body.value.id };
    case "error": {
      const code = ERROR_NAMES.get(body.value.code) ?? "unspecified";
      return { replyTo, type: "error", code, retryAfterMs: body.value.retryAfterMs ?? 0 };
    }
    case "reconnect":
      return { replyTo, type: "reconnect", afterMs: body.value.afterMs };
    default:
      return { replyTo, type: "other" };
  }
}

function readEvent(event: Event): HeardEvent {
  const { id, channel, position, body } = event;
  return {
    id,
    channel,
    position,
    payload: payloadOf(body),
    location: locationOf(body),
    domain: domainBodyOf(body),
  };
}

function payloadOf(body: Event["body"]): string | undefined {
  if (body?.$case === "orderStatus") return body.value.status;
  if (body?.$case !== "custom") return undefined;
  const payload: unknown = body.value.data?.["payload"];
  return typeof payload === "string" ? payload : "";
}

function locationOf(body: Event["body"]): HeardEvent["location"] {
  if (body?.$case !== "location") return undefined;
  return { worker: body.value.workerId, number: body.value.accuracy ?? 0 };
}

/** The proto3 JSON of what is read here: zeros and empty texts are left out, 64-bit numbers are texts. */
interface JsonPosition {
  readonly epoch?: string;
  readonly offset?: string;
  readonly tag?: number;
}

interface JsonEvent extends JsonDomainBodies {
  readonly id?: string;
  readonly channel?: string;
  readonly position?: JsonPosition;
  readonly orderStatus?: { readonly status?: string };
  readonly custom?: { readonly data?: { readonly payload?: string } };
  readonly location?: { readonly workerId?: string; readonly accuracy?: number };
}

interface JsonFrame {
  readonly replyTo?: number;
  readonly welcome?: { readonly resumeToken?: string; readonly resumed?: boolean };
  readonly subscribed?: {
    readonly channel?: string;
    readonly position?: JsonPosition;
    readonly recovered?: boolean;
    readonly latest?: readonly JsonEvent[];
  };
  readonly event?: JsonEvent;
  readonly reply?: { readonly position?: JsonPosition; readonly id?: string };
  readonly error?: { readonly code?: string; readonly retryAfterMs?: number };
  readonly reconnect?: { readonly afterMs?: number };
}

function readJson(frame: JsonFrame): Heard {
  const { replyTo = 0, welcome, subscribed, event, reply, error, reconnect } = frame;
  if (event !== undefined) return { replyTo, type: "event", event: readJsonEvent(event) };
  if (reply !== undefined) {
    return { replyTo, type: "reply", position: readJsonPosition(reply.position), id: reply.id ?? "" };
  }
  if (subscribed !== undefined) {
    const { channel = "", position, recovered = false, latest = [] } = subscribed;
    return {
      ...{ replyTo, type: "subscribed", channel, recovered },
      position: readJsonPosition(position) ?? NOWHERE,
      latest: latest.map(readJsonEvent),
    };
  }
  if (welcome !== undefined) {
    const { resumeToken = "", resumed = false } = welcome;
    return { replyTo, type: "welcome", resumeToken, resumed };
  }
  if (error !== undefined) {
    const code = (error.code ?? "unspecified").replace("ERROR_CODE_", "").toLowerCase();
    return { replyTo, type: "error", code, retryAfterMs: error.retryAfterMs ?? 0 };
  }
  if (reconnect !== undefined) return { replyTo, type: "reconnect", afterMs: reconnect.afterMs ?? 0 };
  return { replyTo, type: "other" };
}

function readJsonEvent(event: JsonEvent): HeardEvent {
  const { id = "", channel = "", position, orderStatus, custom, location } = event;
  const payload = orderStatus?.status ?? (custom === undefined ? undefined : (custom.data?.payload ?? ""));
  return {
    ...{ id, channel, payload, domain: domainBodyOfJson(event) },
    position: readJsonPosition(position),
    location: location && { worker: location.workerId ?? "", number: location.accuracy ?? 0 },
  };
}

function readJsonPosition(position: JsonPosition | undefined): LedgerPosition | undefined {
  if (position === undefined) return undefined;
  const { epoch = "", offset = "0", tag = 0 } = position;
  return { epoch, offset: Number(offset), tag };
}
