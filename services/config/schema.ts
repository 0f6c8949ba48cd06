/**
 * All variables of all processes, in the order in which people read them: the one truth behind the
 * loaders, `--help` and `.env.example`. The rows themselves stand by subject in `variables/`.
 */
import { chatVariables } from "./variables/chat.js";
import { kafkaVariables } from "./variables/kafka.js";
import { limitVariables } from "./variables/limits.js";
import { linkVariables } from "./variables/link.js";
import { logicVariables } from "./variables/logic.js";
import { notificationVariables } from "./variables/notifications.js";
import { presenceVariables } from "./variables/presence.js";
import { processVariables } from "./variables/process.js";
import { redisVariables } from "./variables/redis.js";
import { socketVariables } from "./variables/sockets.js";
import { tokenVariables } from "./variables/tokens.js";
import type { ProcessName, Variable } from "./variable.js";

export interface Section {
  readonly title: string;
  readonly variables: readonly Variable[];
}

export const SECTIONS: readonly Section[] = [
  { title: "Process", variables: Object.values(processVariables) },
  { title: "Tokens", variables: Object.values(tokenVariables) },
  { title: "Sockets", variables: Object.values(socketVariables) },
  { title: "Link between edges and fanouts", variables: Object.values(linkVariables) },
  { title: "API and logic", variables: Object.values(logicVariables) },
  { title: "Chat", variables: Object.values(chatVariables) },
  { title: "Notifications", variables: Object.values(notificationVariables) },
  { title: "Presence", variables: Object.values(presenceVariables) },
  { title: "Rate limits", variables: Object.values(limitVariables) },
  { title: "Redis", variables: Object.values(redisVariables) },
  { title: "Kafka", variables: Object.values(kafkaVariables) },
];

export const ALL_VARIABLES: readonly Variable[] = SECTIONS.flatMap(({ variables }) => variables);

export function variablesOf(process: ProcessName): readonly Variable[] {
  return ALL_VARIABLES.filter(({ usedBy }) => usedBy.includes(process));
}
