/** The variables of chat, and of how long a user's channel keeps what they have missed. */
import { duration, trueOrFalse } from "../value-kind.js";
import { FANOUTS, withDefault } from "../variable.js";

export const chatVariables = {
  openConversations: withDefault("CHAT_OPEN_CONVERSATIONS", trueOrFalse, {
    default: "true",
    usedBy: FANOUTS,
    about:
      "Whether any user may begin a conversation with any other of their app; otherwise only admins and services do.",
  }),
  typingTtlMs: withDefault("TYPING_TTL", duration({ min: "1s", max: "1m" }), {
    default: "6s",
    usedBy: FANOUTS,
    about: "How long somebody types who does not say so again.",
  }),
  userChannelTtlMs: withDefault("USER_CHANNEL_TTL", duration({ min: "1m", max: "30d" }), {
    default: "1d",
    usedBy: FANOUTS,
    about:
      "How long a user's own channel keeps what they have missed, after the last event: its history, and what they have not read.",
  }),
};
