/** The variables of presence: who is online, and who is in which channel. */
import { duration, integer, oneOf } from "../value-kind.js";
import { FANOUTS, withDefault } from "../variable.js";

export const presenceVariables = {
  graceMs: withDefault("PRESENCE_GRACE", duration({ min: "0s", max: "10m" }), {
    default: "15s",
    usedBy: FANOUTS,
    about: "How long who lost their connection is still online, and a member of the channels they followed.",
  }),
  visibility: withDefault("PRESENCE_VISIBILITY", oneOf("shared", "app"), {
    default: "shared",
    usedBy: FANOUTS,
    about: "Who may see whether a user is online: who shares a channel with them, or everybody in the app.",
  }),
  maxToldMembers: withDefault("PRESENCE_TOLD_MEMBERS", integer({ min: 0, max: 10_000 }), {
    default: "200",
    usedBy: FANOUTS,
    about:
      "Up to how many members a channel is told who joined and left; larger ones are counted and listed.",
  }),
  lastSeenTtlMs: withDefault("LAST_SEEN_TTL", duration({ min: "1d", max: "365d" }), {
    default: "30d",
    usedBy: FANOUTS,
    about: "How long is known when a user was last seen.",
  }),
};
