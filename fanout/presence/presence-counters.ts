/** What presence counts: plain integers, published as metrics when they are scraped. */
export class PresenceCounters {
  /** Announcements that were published. */
  readonly announced = { online: 0, offline: 0, joined: 0, left: 0 };
  /** Connections of places that had ended, removed here. */
  dropped = 0;
  /** Changes that were given up because too many waited for the store. */
  abandoned = 0;
}
