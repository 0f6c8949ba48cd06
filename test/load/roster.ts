/** Everybody who takes part in the benchmark. */
import { bareWs } from "./contestants/bare-ws.js";
import { gatewayJson, gatewayProtobuf } from "./contestants/gateway.js";
import { socketIo } from "./contestants/socket-io.js";

export const ROSTER = { gatewayProtobuf, gatewayJson, socketIo, bareWs } as const;
export const EVERYBODY = Object.values(ROSTER);
