/**
 * A fanout as an edge sees it, in the test's hand: it speaks the link's real protocol over any stream,
 * remembers every item, and says what the test tells it to say.
 */
import { setImmediate as turn } from "node:timers/promises";
import {
  ConnectRequest,
  ConnectResponse,
  DeliveryClass,
  type Deliver,
  type EdgeItem,
  type FanoutItem,
} from "#proto/gen/realtime/link/v1/link.js";
import type { LinkStream } from "#proto/link/link-stream.js";

type Said = NonNullable<EdgeItem["item"]>;
type SaidValues = { [Item in Said as Item["$case"]]: Item["value"] };

export class FakeFanout {
  readonly said: Said[] = [];
  /** Why the stream ended. */
  ended: string | undefined;

  constructor(
    readonly name: string,
    private readonly stream: LinkStream,
  ) {
    stream.listen({
      batch: (batch) => {
        for (const { item } of ConnectRequest.decode(batch).items)
          if (item !== undefined) this.said.push(item);
      },
      drained: () => undefined,
      closed: (reason) => (this.ended = reason),
    });
  }

  hello(options: { creditBytes?: number; protocol?: number } = {}): void {
    this.say({
      $case: "hello",
      value: {
        protocol: options.protocol ?? 1,
        fanoutId: this.name,
        incarnation: "1",
        features: [],
        creditBytes: options.creditBytes ?? 8 * 1024 * 1024,
        version: "test",
      },
    });
  }

  /** Items go together in one batch, in order. */
  say(...items: NonNullable<FanoutItem["item"]>[]): void {
    this.stream.send(ConnectResponse.encode({ items: items.map((item) => ({ item })) }).finish());
  }

  sendRaw(batch: Uint8Array): void {
    this.stream.send(batch);
  }

  deliver(delivery: Partial<Deliver> & { group: number }): void {
    const deliveryClass = DeliveryClass.DELIVERY_CLASS_DURABLE;
    this.say({ $case: "deliver", value: { ...EMPTY_DELIVERY, deliveryClass, ...delivery } });
  }

  die(reason = "killed"): void {
    this.stream.destroy(reason);
  }

  end(): void {
    this.stream.end();
  }

  /** Everything of one kind that the edge said, in order. */
  heard<T extends Said["$case"]>(type: T): SaidValues[T][] {
    return this.said.filter((item) => item.$case === type).map((item) => item.value as SaidValues[T]);
  }
}

const EMPTY_DELIVERY: Deliver = {
  group: 0,
  deliveryClass: DeliveryClass.DELIVERY_CLASS_UNSPECIFIED,
  conflationKey: "",
  position: undefined,
  excludeSession: 0,
  protobuf: new Uint8Array(0),
  json: new Uint8Array(0),
  version: 0,
};

/** Everything that is under way on loopback links has arrived, and what it caused has, too. */
export async function settled(): Promise<void> {
  for (let count = 0; count < 8; count += 1) await turn();
}
