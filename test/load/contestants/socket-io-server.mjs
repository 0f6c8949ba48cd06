/**
 * A node of a Socket.IO gateway as one would write it: a token at the handshake, rooms, the Redis adapter
 * between the nodes, and otherwise the defaults. Environment: PORT, REDIS_URL, JWT_SECRET. Speaks with its
 * parent over the process's channel: tells `{listening}`, takes `{id, room, payload}`, answers `{published}`.
 */
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { jwtVerify } from "jose";
import { Server } from "socket.io";

const { PORT, REDIS_URL, JWT_SECRET } = process.env;

const publishing = new Redis(REDIS_URL);
const subscribing = publishing.duplicate();

const httpServer = createServer();
const io = new Server(httpServer, {
  transports: ["websocket"],
  adapter: createAdapter(publishing, subscribing),
});

const secret = new TextEncoder().encode(JWT_SECRET);

io.use(async (socket, next) => {
  try {
    const { payload } = await jwtVerify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] });
    socket.data.userId = payload.sub;
    socket.data.role = payload.role;
    next();
  } catch {
    next(new Error("unauthorized"));
  }
});

io.on("connection", (socket) => {
  socket.on("join", async (room, acknowledge) => {
    await socket.join(room);
    acknowledge({ joined: room });
  });

  socket.on("location", ({ orderId, latitude, longitude, heading, speed, accuracy, timestamp }) => {
    if (socket.data.role !== "porter") return;
    io.to(orderId).emit("location_update", {
      orderId,
      workerId: socket.data.userId,
      latitude,
      longitude,
      heading,
      speed,
      accuracy,
      timestamp,
    });
  });
});

process.on("message", ({ id, room, payload }) => {
  io.to(room).emit("location_update", payload);
  process.send({ published: id });
});
// Without its parent nobody needs it.
process.on("disconnect", () => process.exit());

await Promise.all([publishing.ping(), subscribing.ping()]);
httpServer.listen(Number(PORT), "127.0.0.1", () => process.send({ listening: Number(PORT) }));
