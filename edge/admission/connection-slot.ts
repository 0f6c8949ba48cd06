/**
 * An admitted socket's place, counted at the edge and at its address, from admission until the socket is
 * gone. Each step counts once, however often it is reported: a socket may close by several ways at once.
 */
import type { AddressBook, AddressRecord, Occupancy } from "./address-book.js";

export class ConnectionSlot {
  readonly #edge: Occupancy;
  readonly #address: AddressRecord;
  readonly #addresses: AddressBook;
  #phase: "pending" | "open" | "closed" = "pending";

  constructor(edge: Occupancy, address: AddressRecord, addresses: AddressBook) {
    this.#edge = edge;
    this.#address = address;
    this.#addresses = addresses;
    edge.pendingHandshakes += 1;
    address.pendingHandshakes += 1;
    addresses.held(address);
  }

  /** The handshake is over: the socket is authenticated. */
  opened(): void {
    if (this.#phase !== "pending") return;
    this.#phase = "open";
    for (const occupancy of [this.#edge, this.#address]) {
      occupancy.pendingHandshakes -= 1;
      occupancy.connections += 1;
    }
  }

  /** The socket is gone, opened or not. Must come for every admitted handshake. */
  closed(): void {
    if (this.#phase === "closed") return;
    const held = this.#phase === "open" ? "connections" : "pendingHandshakes";
    this.#phase = "closed";
    this.#edge[held] -= 1;
    this.#address[held] -= 1;
    this.#addresses.left(this.#address);
  }
}
