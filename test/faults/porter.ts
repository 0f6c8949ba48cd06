/** A worker whose device sends numbered locations to the order that they are assigned to. */
import type { Device } from "./device.js";
import type { LocationStream } from "./ledger.js";

export class Porter {
  constructor(
    readonly device: Device,
    readonly stream: LocationStream,
  ) {}

  /** Sends the next one; not while the device has no socket. The number travels as the accuracy. */
  sendLocation(): void {
    const { beganMs } = this.stream;
    const value = {
      ...{ latitude: 1, longitude: 2, timestampMs: 0, orderId: "" },
      accuracy: beganMs.length + 1,
    };
    beganMs.push(performance.now());
    if (!this.device.send({ $case: "locationUpdate", value })) beganMs.pop();
  }
}
