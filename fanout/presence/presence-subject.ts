/**
 * What a change is about, as text: a user, or a user's part in a channel. The text names it where changes are due,
 * and begins the name of each of its connections where a place holds them; JSON has no line feed, so a connection's
 * id can stand behind one.
 */
import { channelOf, type Channel } from "#fanout/channel/channel.js";

export type PresenceSubject =
  | { readonly type: "user"; readonly app: string; readonly userId: string }
  | { readonly type: "member"; readonly channel: Channel; readonly userId: string };

export function userSubject(app: string, userId: string): string {
  return JSON.stringify([app, userId]);
}

export function memberSubject({ app, kind, id }: Channel, userId: string): string {
  return JSON.stringify([app, userId, kind, id]);
}

/** A connection of a subject, as a place holds it. */
export function heldName(subject: string, connectionId: string): string {
  return `${subject}\n${connectionId}`;
}

export interface NamedConnection {
  readonly subject: string;
  /** Empty where the text is a subject alone. */
  readonly connectionId: string;
}

export function readHeldName(text: string): NamedConnection {
  const end = text.indexOf("\n");
  if (end === -1) return { subject: text, connectionId: "" };
  return { subject: text.slice(0, end), connectionId: text.slice(end + 1) };
}

/** @throws TypeError where it is no subject: only what was written here is read. */
export function readSubject(text: string): PresenceSubject {
  const parts: unknown = JSON.parse(text);
  if (Array.isArray(parts)) {
    const [app, userId, kind, id] = parts as unknown[];
    if (typeof app === "string" && typeof userId === "string") {
      if (kind === undefined && id === undefined) return { type: "user", app, userId };
      if (typeof kind === "string" && typeof id === "string") {
        return { type: "member", channel: channelOf(app, kind, id), userId };
      }
    }
  }
  throw new TypeError("the store holds a subject of presence that cannot be read");
}
