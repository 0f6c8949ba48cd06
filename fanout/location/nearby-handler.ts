/** `nearby`: an admin asks which workers are around a place. Backends ask by `LocationService`. */
import { GatewayError } from "#proto/errors.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import { isAble } from "#fanout/policy/policy.js";
import type { FrameHandler } from "#fanout/session/frame-handler.js";
import { nearbyRequest, type NearbyWorkers } from "./nearby-workers.js";

export function nearbyHandler(workers: Pick<NearbyWorkers, "find">): FrameHandler<"nearby"> {
  return async ({ session }, body) => {
    if (!isAble(session.capability, "findNearby")) {
      throw new GatewayError("permission_denied", "only admins ask which workers are around");
    }
    const request = nearbyRequest(session.principal.app, body, new FieldCheck("nearby"));
    return { $case: "nearbyPage", value: await workers.find(request) };
  };
}
