/**
 * Whose sessions live on this fanout: by user, and by what else they take part as (a restaurant, see
 * `policy/relations.ts`). The channel `user:<name>` of each is heard as long as anybody of that name is here, followed
 * or not: that their parts have changed is signalled in it, and whom to disconnect.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { Session } from "./session.js";

interface Local {
  readonly sessions: Set<Session>;
  heard: FollowedChannel | undefined;
}

const NOBODY: ReadonlySet<Session> = new Set();

export class LocalUsers {
  readonly #options: { readonly channels: Channels; readonly relations: Pick<Relations, "namesOf"> };
  /** By the key of their channel. */
  readonly #local = new Map<string, Local>();
  /** As they were when it came: another token may say others. */
  readonly #channelsOf = new Map<Session, readonly Channel[]>();
  #users = 0;

  constructor(options: { readonly channels: Channels; readonly relations: Pick<Relations, "namesOf"> }) {
    this.#options = options;
  }

  /** How many users live here. */
  get size(): number {
    return this.#users;
  }

  of(app: string, name: string): ReadonlySet<Session> {
    return this.#local.get(userChannel(app, name).key)?.sessions ?? NOBODY;
  }

  add(session: Session): void {
    const channels = channelsOf(session.principal, this.#options.relations);
    this.#channelsOf.set(session, channels);
    for (const [index, { key }] of channels.entries()) {
      let local = this.#local.get(key);
      if (local === undefined) {
        local = { sessions: new Set(), heard: undefined };
        this.#local.set(key, local);
        if (index === 0) this.#users += 1;
      }
      local.sessions.add(session);
    }
  }

  hear(session: Session): void {
    for (const channel of this.#channelsOf.get(session) ?? []) {
      const local = this.#local.get(channel.key);
      if (local !== undefined) local.heard ??= this.#options.channels.acquire(channel);
    }
  }

  /** Its token says something else: what it takes part as may have changed. */
  refreshed(session: Session): void {
    const before = this.#channelsOf.get(session);
    if (before === undefined) return;
    this.add(session);
    this.hear(session);
    const kept = new Set(this.#channelsOf.get(session)?.map(({ key }) => key));
    for (const { key } of before) if (!kept.has(key)) this.#forget(key, session);
  }

  /** True where it was its user's last one here. */
  remove(session: Session): boolean {
    const [own, ...more] = this.#channelsOf.get(session) ?? [];
    this.#channelsOf.delete(session);
    for (const { key } of more) this.#forget(key, session);
    if (own === undefined || !this.#forget(own.key, session)) return false;
    this.#users -= 1;
    return true;
  }

  #forget(key: string, session: Session): boolean {
    const local = this.#local.get(key);
    local?.sessions.delete(session);
    if (local === undefined || local.sessions.size > 0) return false;
    this.#local.delete(key);
    if (local.heard !== undefined) this.#options.channels.release(local.heard);
    return true;
  }
}

/** The user's own first. */
function channelsOf(principal: Principal, relations: Pick<Relations, "namesOf">): readonly Channel[] {
  return relations.namesOf(principal).map((name) => userChannel(principal.app, name));
}
