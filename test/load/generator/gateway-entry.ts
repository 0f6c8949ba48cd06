/**
 * How a client comes into its order's channel at the gateway, the same in both native framings: `welcome`, then
 * it subscribes; after a `resume` the channel comes by itself, or, where the session could not be continued, it
 * subscribes again (docs/protocol.md, "Resuming").
 */
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { HandshakeHead, Heard, Seat } from "./dialect.js";
import { locationFields } from "./location-frame.js";

export type GatewayBody = NonNullable<ClientFrame["body"]>;

export interface GatewayFrame {
  readonly id?: number;
  readonly body: GatewayBody;
}

export type GatewayHeard =
  | { readonly type: "welcome"; readonly resumeToken: string; readonly resumed: boolean }
  | { readonly type: "subscribed"; readonly channel: string; readonly recovered: boolean }
  | { readonly type: "unsubscribed"; readonly channel: string }
  | { readonly type: "error"; readonly replyTo: number; readonly code: string; readonly message: string };

const SUBSCRIBE_ID = 1;

export function gatewayHandshake(
  subprotocol: string,
  { credentials }: Seat,
  { resumes }: { readonly resumes: boolean },
): HandshakeHead {
  return {
    path: resumes ? "/ws?resume=true" : "/ws",
    headers: [`Sec-WebSocket-Protocol: ${subprotocol}`, `Authorization: Bearer ${credentials}`],
  };
}

export function hearGateway(
  seat: Seat,
  encode: (frame: GatewayFrame) => Uint8Array,
  heard: GatewayHeard,
): Heard {
  const channel = `order:${seat.room}`;
  switch (heard.type) {
    case "welcome": {
      const { resumeToken, resumed } = heard;
      const body: GatewayBody = { $case: "subscribe", value: { channel, after: undefined } };
      const say = resumed ? undefined : encode({ id: SUBSCRIBE_ID, body });
      return { type: "welcomed", resumeToken, resumed, say };
    }
    case "subscribed":
      if (heard.channel !== channel) return { type: "nothing" };
      return { type: "entered", recovered: heard.recovered };
    case "unsubscribed":
      if (heard.channel !== channel) return { type: "nothing" };
      return { type: "refused", reason: `${channel} was unsubscribed` };
    case "error": {
      const reason = `${heard.code}: ${heard.message}`;
      return { type: heard.replyTo === SUBSCRIBE_ID ? "refused" : "error", reason };
    }
  }
}

/** Without an id: nothing is answered where it succeeds. */
export function locationUpdate({ sender, room }: Seat): GatewayBody {
  const fields = { ...locationFields(sender), available: undefined };
  return { $case: "locationUpdate", value: { ...fields, timestampMs: Date.now(), orderId: room } };
}
