/**
 * The presence port: who is online, and who is in which channel. A connection counts as long as the link behind it
 * (its place: one edge with one fanout) is renewed; what is left of a place that is not is dropped by whoever finds
 * it first. Each method is one atomic step in one partition and answers what is to be announced, to the caller alone
 * whose step made it; until `announced` is called it is given again to whoever asks `due`.
 *
 * Implementations: `presence-store-memory.ts`, `presence-store-redis.ts`, one contract suite for both. Fails with
 * GatewayError `unavailable` while the store is away. Repeats change nothing.
 */
import type { Channel } from "#fanout/channel/channel.js";

export interface PlacedConnection {
  readonly app: string;
  readonly userId: string;
  readonly connectionId: string;
  /** Of its home: one that is older than the stored one changes nothing. */
  readonly generation: number;
  /** The link that it is reached by. */
  readonly place: string;
}

export interface MemberConnection extends PlacedConnection {
  readonly channel: Channel;
  /** Another connection of the same session takes its place, unheard. */
  readonly sessionId: string;
}

/** A user over all their connections. */
export interface UserPresence {
  readonly userId: string;
  readonly isOnline: boolean;
  /** Milliseconds since 1970-01-01 UTC; 0 while online, and where nobody knows. */
  readonly lastSeenMs: number;
  /** Whether they take offers: false while offline, absent where they never said. */
  readonly isAvailable?: boolean;
  /** Microseconds since 1970-01-01 UTC of the last change; 0 where nothing is known. */
  readonly version: number;
}

export type Announcement =
  | { readonly type: "presence"; readonly app: string; readonly presence: UserPresence }
  | {
      readonly type: "membership";
      readonly channel: Channel;
      readonly userId: string;
      /** By which the user is known as a member: the one that joined, also where another has taken its place. */
      readonly connectionId: string;
      /** When it joined; with the connection it names the membership. */
      readonly stamp: string;
      readonly hasJoined: boolean;
    };

export interface MembersPage {
  /** In the order of their bytes. */
  readonly userIds: readonly string[];
  readonly total: number;
}

/** Something whose time has come: a grace that ended, or an announcement that nobody confirmed. */
export interface DueSubject {
  readonly partition: number;
  readonly text: string;
}

/** A place that was not renewed. */
export interface LapsedPlace {
  readonly place: string;
  readonly renewedAtMs: number;
}

/** A connection that is stored under a place. */
export interface HeldConnection extends DueSubject {
  readonly place: string;
  readonly generation: number;
}

export interface PresenceStore {
  /** The connection is there. */
  connect(connection: PlacedConnection): Promise<readonly Announcement[]>;
  /** It is gone. The last one of a user leaves them online for the grace. */
  disconnect(connection: PlacedConnection, graceMs: number): Promise<readonly Announcement[]>;
  /**
   * Whether a user takes offers, as said at this time (microseconds), now at the latest; what was said earlier
   * changes nothing.
   */
  setAvailable(user: AvailableUser): Promise<readonly Announcement[]>;
  /** In the order of the ids. */
  presences(app: string, userIds: readonly string[]): Promise<readonly UserPresence[]>;
  countOnline(app: string): Promise<number>;

  /** The connection follows the channel. */
  join(member: MemberConnection): Promise<readonly Announcement[]>;
  /** It does not any more. For the grace its user stays a member, and may come back unheard by any connection. */
  leave(member: Omit<MemberConnection, "sessionId">, graceMs: number): Promise<readonly Announcement[]>;
  /** Members behind this user id ("" for the first). */
  members(channel: Channel, after: string, limit: number): Promise<MembersPage>;

  /** These places live. */
  renew(places: readonly string[]): Promise<void>;
  /** Those that were not renewed for so long. */
  lapsed(leaseMs: number): Promise<readonly LapsedPlace[]>;
  /** What is stored under a place, some of it. */
  held(place: string): Promise<readonly HeldConnection[]>;
  /**
   * Removes what was held, where its home is still that one; it was last there at `seenAtMs`. Without a grace of its
   * own; one that another connection of the user left goes on.
   */
  drop(held: HeldConnection, seenAtMs: number): Promise<readonly Announcement[]>;
  /** Nothing is stored under it any more. */
  forget(place: string): Promise<void>;
  /** Subjects whose time has come, some of each partition (default: all). Those that could not be asked are left out. */
  due(partitions?: readonly number[]): Promise<readonly DueSubject[]>;
  /** Does what is due; nothing where another has done it. */
  settle(subject: DueSubject): Promise<readonly Announcement[]>;
  /** It was published: it is not given again. */
  announced(announcement: Announcement): Promise<void>;
}

export interface AvailableUser {
  readonly app: string;
  readonly userId: string;
  readonly isAvailable: boolean;
  readonly saidAtUs: number;
}
