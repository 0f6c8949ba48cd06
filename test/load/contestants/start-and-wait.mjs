/** For tests: starts the named contestant, writes its process ids, and lives until it is killed. */
import { bareWs } from "#test/load/contestants/bare-ws.js";
import { gatewayJson, gatewayProtobuf } from "#test/load/contestants/gateway.js";
import { socketIo } from "#test/load/contestants/socket-io.js";

const contestants = [gatewayProtobuf, gatewayJson, socketIo, bareWs];
const contestant = contestants.find(({ name }) => name === process.argv[2]);
if (contestant === undefined) throw new Error(`there is no contestant ${process.argv[2] ?? ""}`);
const running = await contestant.start({});
process.stdout.write(JSON.stringify(running.processes.map(({ pid }) => pid)));
setInterval(() => undefined, 60_000);
