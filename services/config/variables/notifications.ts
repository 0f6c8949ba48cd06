/** The variables of notifications. */
import { trueOrFalse } from "../value-kind.js";
import { FANOUTS, withDefault } from "../variable.js";

export const notificationVariables = {
  followBroadcasts: withDefault("FOLLOW_BROADCASTS", trueOrFalse, {
    default: "true",
    usedBy: FANOUTS,
    about:
      "Whether sessions follow their role's channel and everyone's from the start; otherwise apps that want them subscribe.",
  }),
};
