/**
 * One in `sampleEvery` of a worker's locations goes to `porter-events`, marked as the gateway's own so that
 * it is not read back. A sample that Kafka does not take is counted and gone: the next one follows soon.
 */
import type { Location } from "#proto/gen/realtime/client/v1/event.js";
import type { EventSink } from "#fanout/event/event-sink.js";
import type { Session } from "#fanout/session/session.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { writeEnvelope } from "#fanout/event/envelope.js";

export interface SampledLocation {
  readonly location: Location;
  readonly receivedAtUs: number;
  readonly correlationId: string;
  readonly traceparent: string;
}

export class LocationSampler {
  constructor(
    private readonly options: {
      readonly sink: EventSink;
      readonly sampleEvery: number;
      readonly topic: string;
      readonly counters: FanoutCounters;
    },
  ) {}

  /** Called for each location of the session, after it was counted. */
  offer(session: Session, sample: SampledLocation): void {
    const { sink, sampleEvery, topic, counters } = this.options;
    if (session.sampleCounter < sampleEvery) return;
    session.sampleCounter = 0;
    const { location, receivedAtUs } = sample;
    const { workerId, measuredAtMs, orderId, ...measured } = location;
    const record = writeEnvelope(
      { topic, key: workerId },
      {
        eventId: `${session.connectionId}-${receivedAtUs}`,
        type: "porter.location.updated",
        occurredAtMs: Math.floor(receivedAtUs / 1000),
        correlationId: sample.correlationId,
        traceparent: sample.traceparent,
        app: session.principal.app,
        version: 0,
        data: {
          porterId: workerId,
          ...(orderId !== "" && { orderId }),
          ...Object.fromEntries(Object.entries(measured).filter(([, value]) => value !== undefined)),
          timestamp: measuredAtMs,
        },
      },
    );
    counters.locationsSampled += 1;
    sink.send([record]).catch(() => (counters.sampleFailures += 1));
  }
}
