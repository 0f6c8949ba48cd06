import { expect, test } from "vitest";
import { clientsInRooms } from "./clients.js";

test("clients fill rooms of one size, with one sender in each of the first rooms", () => {
  const clients = clientsInRooms({ connections: 12, roomSize: 5, senders: 2 });
  const sizes = ["r0", "r1", "r2"].map((name) => clients.filter(({ room }) => room === name).length);
  expect(sizes).toEqual([5, 5, 2]);
  expect(clients.filter(({ isSender }) => isSender).map(({ userId }) => userId)).toEqual(["u0", "u5"]);
  expect(new Set(clients.map(({ userId }) => userId)).size).toBe(12);
});
