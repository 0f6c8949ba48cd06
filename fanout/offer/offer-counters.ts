/** What is counted of offers: plain integers over closed sets. Metrics read them when scraped. */
import type { ChangeKind } from "./offer.js";

export class OfferCounters {
  /** Changes by commands and looks of this fanout. */
  readonly commands = { created: 0, accepted: 0, rejected: 0, withdrawn: 0, passed: 0, refused: 0 };
  /** Changes that were told to everybody, by kind. Where two fanouts tell the same it counts in both. */
  readonly delivered = new Map<ChangeKind, number>();
  /** Workers who were told something. */
  tellings = 0;
  deliveryFailures = 0;
  /** Found by the sweep: whoever made the changes has not delivered them. */
  late = 0;
  /** Deliveries that had no room here and were left to the sweep. */
  leftToSweep = 0;
}
