/**
 * A user's own devices: which of them are connected, and ending one. What was ended is closed wherever it is,
 * cannot be resumed, and does not come back with its token, where that can be told from the token of who asks.
 */
import { CloseCode } from "#proto/close-codes.js";
import { GatewayError } from "#proto/errors.js";
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import type { Broker } from "#fanout/channel/broker.js";
import { userChannel } from "#fanout/channel/channel.js";
import { isAble } from "#fanout/policy/policy.js";
import type { Revocations } from "#fanout/revocation/revocations.js";
import { ANSWERED, type FrameHandler, type ServerBody } from "../frame-handler.js";
import type { ResumableSessions } from "../resumable-sessions.js";
import type { Session } from "../session.js";
import type { SessionRegistry } from "../session-registry.js";

export const ENDED_MESSAGE = "ended by its user";
const MAX_SESSION_ID_LENGTH = 128;
const DONE: ServerBody = { $case: "reply", value: { position: undefined, id: "", timeMs: 0 } };

export function listDevicesHandler(options: {
  readonly registry: Pick<SessionRegistry, "ofUser">;
}): FrameHandler<"listDevices"> {
  return async ({ session }) => {
    mustBeSomebody(session);
    const records = await options.registry.ofUser(session.principal.app, session.principal.userId);
    const devices = records.map(({ sessionId, deviceId, platform, connectedAtMs }) => {
      return { sessionId, deviceId, platform, connectedAtMs, isCurrent: sessionId === session.sessionId };
    });
    return { $case: "deviceList", value: { devices } };
  };
}

export function endDeviceHandler(options: {
  readonly registry: Pick<SessionRegistry, "ofUser">;
  readonly resumables: Pick<ResumableSessions, "remove">;
  readonly revocations: Pick<Revocations, "revoke">;
  readonly broker: Pick<Broker, "tell">;
}): FrameHandler<"endDevice"> {
  const { registry, resumables, revocations, broker } = options;
  return async ({ session, frame, answer }, { sessionId }) => {
    mustBeSomebody(session);
    const { app, userId, tokenId: ownTokenId } = session.principal;
    if (sessionId === "" || sessionId.length > MAX_SESSION_ID_LENGTH) {
      const message = `it must be given, and has at most ${MAX_SESSION_ID_LENGTH} characters`;
      throw new GatewayError("invalid_argument", message, { field: "end_device.session_id" });
    }
    const records = (await registry.ofUser(app, userId)).filter((record) => record.sessionId === sessionId);
    const tokenIds = new Set(records.map(({ tokenId }) => tokenId));
    tokenIds.delete("");
    tokenIds.delete(ownTokenId);
    if (tokenIds.size > 0) {
      const revokes = [...tokenIds].map((id) => ({ app, subject: "token", id, issuedBeforeMs: 0 }) as const);
      const failed = (await revocations.revoke(revokes)).find((outcome) => "error" in outcome);
      if (failed !== undefined && "error" in failed) throw failed.error;
    }
    const wasResumable = await resumables.remove({ app, userId }, sessionId);
    if (records.length === 0 && !wasResumable) {
      throw new GatewayError("not_found", "you have no such session", { field: "end_device.session_id" });
    }
    const isOwn = sessionId === session.sessionId;
    // Behind the close nothing could be said any more.
    if (isOwn && frame.id !== 0) answer(DONE);
    for (const { connectionId } of records) {
      const signal = Signal.encode({
        kind: SignalKind.SIGNAL_KIND_DISCONNECT,
        connectionId,
        closeCode: CloseCode.KICKED,
        reason: ENDED_MESSAGE,
        endsSession: true,
      }).finish();
      await broker.tell(userChannel(app, userId), { signal });
    }
    return isOwn ? ANSWERED : DONE;
  };
}

function mustBeSomebody(session: Session): void {
  if (isAble(session.capability, "manageDevices")) return;
  throw new GatewayError("permission_denied", "who has no account has no devices");
}
