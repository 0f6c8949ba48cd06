/**
 * The ceiling of what JavaScript does with sockets: `ws`, rooms in a map, and nothing else: no token, no
 * second process, no store. A client's first message, `{"join": room}`, is answered; all that follow go to
 * its room as they are. Environment: PORT. Speaks with its parent over the process's channel: tells
 * `{listening}`, takes `{id, room, payload}`, answers `{published}`.
 */
import { WebSocketServer } from "ws";

const { PORT } = process.env;

/** The sockets of each room. */
const rooms = new Map();

const server = new WebSocketServer({ port: Number(PORT), host: "127.0.0.1" });

function broadcast(room, data, isBinary) {
  for (const socket of rooms.get(room) ?? []) socket.send(data, { binary: isBinary });
}

function join(socket, room) {
  let members = rooms.get(room);
  if (members === undefined) rooms.set(room, (members = new Set()));
  members.add(socket);
  socket.on("close", () => {
    members.delete(socket);
    if (members.size === 0) rooms.delete(room);
  });
}

server.on("connection", (socket) => {
  let room;
  socket.on("error", () => undefined);
  socket.on("message", (data, isBinary) => {
    if (room !== undefined) return broadcast(room, data, isBinary);
    room = JSON.parse(data).join;
    join(socket, room);
    socket.send(JSON.stringify({ joined: room }));
  });
});

process.on("message", ({ id, room, payload }) => {
  broadcast(room, Buffer.from(JSON.stringify(payload)), false);
  process.send({ published: id });
});
// Without its parent nobody needs it.
process.on("disconnect", () => process.exit());

server.on("listening", () => process.send({ listening: Number(PORT) }));
