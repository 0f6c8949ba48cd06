/**
 * What a channel is called. A channel is named `kind:id` within an app; its key is what stores and
 * maps use. Ids come from users: only characters that cannot steer a key are let through, so no
 * further encoding is needed anywhere.
 */
import { GatewayError } from "#proto/errors.js";

/** 1 to 128 of letters, digits and `_ . @ | + = -`: no `:`, `/`, braces, globs or control characters. */
const IDENTIFIER = /^[A-Za-z0-9_.@|+=-]{1,128}$/;

export interface Channel {
  /** The product. */
  readonly app: string;
  /** "order", "user", …: one of `channel-kinds.ts`. */
  readonly kind: string;
  readonly id: string;
  /** `kind:id`, as clients know it. */
  readonly name: string;
  /** `app/kind:id`: unique over all apps. */
  readonly key: string;
}

export function isIdentifier(text: string): boolean {
  return IDENTIFIER.test(text);
}

export function channelOf(app: string, kind: string, id: string): Channel {
  const name = `${kind}:${id}`;
  return { app, kind, id, name, key: channelKey(app, name) };
}

/** The key of the channel that an app's clients know by this name. */
export function channelKey(app: string, name: string): string {
  return `${app}/${name}`;
}

/** The channel of all devices of a user. */
export function userChannel(app: string, userId: string): Channel {
  return channelOf(app, "user", userId);
}

/**
 * Reads a channel's name as a client gave it.
 * @throws GatewayError invalid_argument where it is not `kind:id` of allowed characters.
 */
export function parseChannelName(app: string, name: string, field: string): Channel {
  const colon = name.indexOf(":");
  const kind = name.slice(0, Math.max(colon, 0));
  const id = name.slice(colon + 1);
  if (name.length > 192 || !isIdentifier(kind) || !isIdentifier(id)) {
    throw new GatewayError(
      "invalid_argument",
      "a channel is named kind:id, as in order:42; an id has 1 to 128 of A-Z a-z 0-9 _ . @ | + = -",
      { field },
    );
  }
  return channelOf(app, kind, id);
}
