/**
 * `ConnectionService`: who is connected, and closing a user's connections. The sockets are closed by the
 * fanouts that hold the sessions: they hear it as a signal on the user's channel.
 */
import { CloseCode } from "#proto/close-codes.js";
import {
  ConnectionServiceService,
  type DisconnectRequest,
  type DisconnectResponse,
  type ListConnectionsRequest,
  type ListConnectionsResponse,
} from "#proto/gen/realtime/api/v1/api.js";
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import type { Broker } from "#fanout/channel/broker.js";
import { userChannel } from "#fanout/channel/channel.js";
import type { SessionRegistry } from "#fanout/session/session-registry.js";
import { apiMethod, type ApiMethod } from "./api-method.js";
import { FieldCheck } from "./field-check.js";

const DEFAULT_REASON = "disconnected by a service";
/** What fits into a WebSocket close frame beside the code. */
const MAX_REASON_BYTES = 123;

export class ConnectionService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(ConnectionServiceService.listConnections, (request) => this.#list(request)),
    apiMethod(ConnectionServiceService.disconnect, (request) => this.#disconnect(request)),
  ];
  readonly #sessions: SessionRegistry;
  readonly #broker: Broker;

  constructor(options: { sessions: SessionRegistry; broker: Broker }) {
    this.#sessions = options.sessions;
    this.#broker = options.broker;
  }

  async #list(request: ListConnectionsRequest): Promise<ListConnectionsResponse> {
    const { app, userId } = readUser(request, new FieldCheck(""));
    const records = await this.#sessions.ofUser(app, userId);
    return {
      connections: records.map(({ connectionId, sessionId, role, deviceId, platform, connectedAtMs }) => ({
        connectionId,
        sessionId,
        role,
        deviceId,
        platform,
        connectedAtMs,
      })),
    };
  }

  async #disconnect(request: DisconnectRequest): Promise<DisconnectResponse> {
    const check = new FieldCheck("");
    const { app, userId } = readUser(request, check);
    const { connectionId } = request;
    check.optionalIdentifier("connection_id", connectionId);
    check.optionalLine("reason", request.reason, MAX_REASON_BYTES);
    if (Buffer.byteLength(request.reason, "utf8") > MAX_REASON_BYTES) {
      check.fail("reason", `it has at most ${MAX_REASON_BYTES} bytes`);
    }
    const records = await this.#sessions.ofUser(app, userId);
    const signal: Signal = {
      kind: SignalKind.SIGNAL_KIND_DISCONNECT,
      connectionId,
      closeCode: CloseCode.KICKED,
      reason: request.reason === "" ? DEFAULT_REASON : request.reason,
      endsSession: false,
    };
    // Also where the registry knows of none: a socket that opened this moment is not in it yet.
    await this.#broker.tell(userChannel(app, userId), { signal: Signal.encode(signal).finish() });
    const meant = records.filter((record) => connectionId === "" || record.connectionId === connectionId);
    return { connections: meant.length };
  }
}

function readUser(request: { app: string; userId: string }, check: FieldCheck) {
  const app = check.app("app", request.app);
  check.identifier("user_id", request.userId);
  return { app, userId: request.userId };
}
