/**
 * What a fanout counts: plain integers, cheap on the path of a frame. The service publishes them as
 * metrics when it is scraped.
 */
export class FanoutCounters {
  /** Frames of clients by body: the closed set of the contract, else "invalid". */
  readonly framesReceived = new Map<string, number>();
  /** Events handed to edges by body, once for each group. */
  readonly eventsSent = new Map<string, number>();
  /** Requests answered with an error, by code. */
  readonly requestErrors = new Map<string, number>();
  /** Frames refused as `rate_limited`, by class. */
  readonly rateLimited = new Map<string, number>();
  /** Times when tokens were drawn: from the store, and without it. */
  limitDraws = 0;
  limitDrawsWithoutStore = 0;
  /** Sockets closed because they went on. */
  floodsClosed = 0;
  locationUpdates = 0;
  /** Locations that could not be believed, by the reason. */
  readonly locationsDropped = new Map<string, number>();
  locationsSampled = 0;
  sampleFailures = 0;
  sessionsOpened = 0;
  sessionsRestored = 0;
  sessionsReleased = 0;
  sessionsResumed = 0;
  /** New ones that were told to come back, because too many waited. */
  sessionsRefused = 0;
  /** Resumes that were refused or failed, by error code. */
  readonly resumesRefused = new Map<string, number>();
  /** Sessions that went on with another token. */
  tokensRefreshed = 0;
  revocationsMade = 0;
  /** Sessions that were closed or refused because their token is revoked. */
  sessionsRevoked = 0;
  /** Sessions that were closed or refused because their user has too many. */
  sessionsOverLimit = 0;
  gapsFilled = 0;
  historyHoles = 0;
  /** Forks that were found here and answered with a new epoch. */
  epochsRotated = 0;
  partitionsLost = 0;
  staleLatest = 0;
  storeFailures = 0;
  /** Messages that were stored here, and those that had been stored before. */
  messagesSaid = 0;
  messagesRepeated = 0;
  receipts = 0;
  /** Of them: those of channels with too many readers. */
  receiptsNotTold = 0;
  notificationsSeen = 0;
  /** Stored notifications that were not given again, because their time was over. */
  notificationsExpired = 0;
  /** Ends of typing that the typist did not tell. */
  typingLapsed = 0;
  linksAccepted = 0;
  linksRefused = 0;
}

/** Counts one more under a label of a closed set. */
export function countOne(counts: Map<string, number>, label: string): void {
  counts.set(label, (counts.get(label) ?? 0) + 1);
}
