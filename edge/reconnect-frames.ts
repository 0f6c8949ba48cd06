/** The `reconnect` frame in each native framing: it says why to connect again, and after how long. */
import { encodeServerFrame } from "#proto/frame-codec.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import type { ReconnectReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Connection } from "./socket/connection.js";

/** From the time for which a client is told to connect again to its close: it may open the next socket first. */
export const GRACE_MS = 1000;

const FRAMINGS = [Framing.FRAMING_PROTOBUF, Framing.FRAMING_JSON] as const;

/** Made once for all who are told the same. */
export class ReconnectFrames {
  readonly #payloads: ReadonlyMap<Framing, Uint8Array>;

  constructor(
    reason: ReconnectReason,
    readonly afterMs: number,
  ) {
    const body = { $case: "reconnect", value: { reason, afterMs } } as const;
    this.#payloads = new Map(
      FRAMINGS.map((framing) => [framing, encodeServerFrame(framing, { replyTo: 0, body })]),
    );
  }

  /** Says nothing to a socket that is not open: it has not been welcomed yet. */
  tell(connection: Connection): void {
    const payload = this.#payloads.get(connection.framing);
    if (payload !== undefined && connection.isOpen) connection.writer.write(connection.frame(payload));
  }
}
