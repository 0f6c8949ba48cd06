/** The variables of the rate limits: a bucket for each class of client frames, roles with others, and floods. */
import { FRAME_CLASSES, type FrameClass } from "#fanout/limits/rate-limits.js";
import { listOf, rate, type Rate, type ValueKind } from "../value-kind.js";
import { FANOUTS, optional, withDefault } from "../variable.js";

export interface RoleLimit {
  readonly role: string;
  readonly frameClass: FrameClass;
  readonly limit: Rate;
}

/** As in `porter.location=2000/60s`. A class has no dot in it, a role may. */
const roleLimit: ValueKind<RoleLimit> = {
  expects: "role.class=rate",
  parse(value, files) {
    const [, role = "", name = "", text = ""] =
      /^([A-Za-z0-9_.@|+-]{1,128})\.([a-z]+)=([^=]+)$/.exec(value) ?? [];
    const frameClass = FRAME_CLASSES.find((each) => each === name);
    const limit = rate.parse(text, files);
    return frameClass === undefined || limit === undefined ? undefined : { role, frameClass, limit };
  },
};

export const limitVariables = {
  general: withDefault("RATE_LIMIT_GENERAL", rate, {
    default: "100/60s",
    usedBy: FANOUTS,
    about: "What a user may send of frames that have no class of their own, from all devices together.",
  }),
  location: withDefault("RATE_LIMIT_LOCATION", rate, {
    default: "1000/60s",
    usedBy: FANOUTS,
    about: "How many locations a worker may send, from all devices together.",
  }),
  chat: withDefault("RATE_LIMIT_CHAT", rate, {
    default: "50/60s",
    usedBy: FANOUTS,
    about: "How often a user may send, edit or delete chat messages, from all devices together.",
  }),
  ping: withDefault("RATE_LIMIT_PING", rate, {
    default: "120/60s",
    usedBy: FANOUTS,
    about: "How many `ping` frames each socket may send; they are not counted with others.",
  }),
  byRole: optional(
    "RATE_LIMIT_ROLES",
    listOf(roleLimit, `a list of role.class=rate, as porter.location=2000/60s (${FRAME_CLASSES.join(", ")})`),
    {
      unset: "all roles have the limits above",
      usedBy: FANOUTS,
      about: "What a role has instead of the limits above.",
    },
  ),
  closeAfter: withDefault("RATE_LIMIT_CLOSE_AFTER", rate, {
    default: "100/10s",
    usedBy: FANOUTS,
    about: "A socket with so many frames refused as `rate_limited` in a window is closed.",
  }),
};
