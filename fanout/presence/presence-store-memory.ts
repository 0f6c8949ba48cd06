/** Presence in this process: the embedded default. Users in `user-presences-memory.ts`, members beside it. */
import type { Channel } from "#fanout/channel/channel.js";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import { ChannelMembersMemory } from "./channel-members-memory.js";
import { PresenceIndexMemory } from "./presence-index-memory.js";
import { DEFAULT_PRESENCE_STORE, type PresenceStoreOptions } from "./presence-limits.js";
import type {
  Announcement,
  AvailableUser,
  DueSubject,
  HeldConnection,
  LapsedPlace,
  MemberConnection,
  MembersPage,
  PlacedConnection,
  PresenceStore,
  UserPresence,
} from "./presence-store.js";
import { readHeldName, readSubject } from "./presence-subject.js";
import { UserPresencesMemory } from "./user-presences-memory.js";

export class MemoryPresenceStore implements PresenceStore {
  readonly #index: PresenceIndexMemory;
  readonly #users: UserPresencesMemory;
  readonly #members: ChannelMembersMemory;

  constructor(options: { readonly clock?: StoreClock } & Partial<PresenceStoreOptions> = {}) {
    const { clock = new SystemClock(), ...given } = options;
    const bounds = { ...DEFAULT_PRESENCE_STORE, ...given };
    this.#index = new PresenceIndexMemory(clock);
    this.#users = new UserPresencesMemory(this.#index, bounds);
    this.#members = new ChannelMembersMemory(this.#index, bounds);
  }

  /** How many users are known, and how many channels have members. */
  get size(): { readonly users: number; readonly channels: number } {
    return { users: this.#users.size, channels: this.#members.size };
  }

  async connect(connection: PlacedConnection): Promise<readonly Announcement[]> {
    return this.#users.connect(connection);
  }

  async disconnect(connection: PlacedConnection, graceMs: number): Promise<readonly Announcement[]> {
    return this.#users.disconnect(connection, { graceMs });
  }

  async setAvailable(user: AvailableUser): Promise<readonly Announcement[]> {
    return this.#users.setAvailable(user);
  }

  async presences(app: string, userIds: readonly string[]): Promise<readonly UserPresence[]> {
    return userIds.map((userId) => this.#users.presence(app, userId));
  }

  async countOnline(app: string): Promise<number> {
    return this.#users.countOnline(app);
  }

  async join(member: MemberConnection): Promise<readonly Announcement[]> {
    return this.#members.join(member);
  }

  async leave(
    member: Omit<MemberConnection, "sessionId">,
    graceMs: number,
  ): Promise<readonly Announcement[]> {
    return this.#members.leave(member, graceMs);
  }

  async members(channel: Channel, after: string, limit: number): Promise<MembersPage> {
    return this.#members.page(channel, after, limit);
  }

  async renew(places: readonly string[]): Promise<void> {
    this.#index.renew(places);
  }

  async lapsed(leaseMs: number): Promise<readonly LapsedPlace[]> {
    return this.#index.lapsed(leaseMs);
  }

  async held(place: string): Promise<readonly HeldConnection[]> {
    return this.#index.held(place);
  }

  async drop(held: HeldConnection, seenAtMs: number): Promise<readonly Announcement[]> {
    const { subject: text, connectionId } = readHeldName(held.text);
    const subject = readSubject(text);
    const { generation, place } = held;
    if (subject.type === "user") {
      const { app, userId } = subject;
      const connection = { app, userId, connectionId, generation, place };
      return this.#users.disconnect(connection, { graceMs: 0, seenAtMs });
    }
    const { channel, userId } = subject;
    return this.#members.leave({ channel, app: channel.app, userId, connectionId, generation, place }, 0);
  }

  async forget(place: string): Promise<void> {
    this.#index.forget(place);
  }

  async due(): Promise<readonly DueSubject[]> {
    return this.#index.due();
  }

  async settle({ text }: DueSubject): Promise<readonly Announcement[]> {
    const subject = readSubject(text);
    return subject.type === "user" ? this.#users.settle(subject) : this.#members.settle(subject);
  }

  async announced(announcement: Announcement): Promise<void> {
    if (announcement.type === "presence") this.#users.announced(announcement);
    else this.#members.announced(announcement);
  }
}
