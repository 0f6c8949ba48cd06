import { describe, expect, it } from "vitest";
import { ConnectResponse, DeliveryClass, Deliver } from "#proto/gen/realtime/link/v1/link.js";
import { deliverItem, encodeDelivery } from "./deliver-item.js";

describe("deliverItem", () => {
  it("is read by the generated code as the same delivery, for any group number and size", () => {
    for (const group of [1, 127, 128, 300, 2 ** 31, 2 ** 40]) {
      for (const size of [0, 1, 200, 70_000]) {
        const delivery = Deliver.fromPartial({
          deliveryClass: DeliveryClass.DELIVERY_CLASS_LATEST,
          conflationKey: "location:p1",
          position: { epoch: "e", offset: 7, tag: 9 },
          protobuf: new Uint8Array(size).fill(7),
        });
        const batch = Buffer.concat([
          deliverItem(group, encodeDelivery(delivery)),
          deliverItem(1, encodeDelivery(delivery)),
        ]);
        const [first, second] = ConnectResponse.decode(new Uint8Array(batch)).items;
        expect(first?.item).toEqual({ $case: "deliver", value: { ...delivery, group } });
        expect(second?.item?.$case).toBe("deliver");
      }
    }
  });
});
