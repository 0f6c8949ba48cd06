/** Opens links to fanouts over gRPC: one channel and one stream for each address. */
import { Client, credentials, Metadata, type ChannelCredentials } from "@grpc/grpc-js";
import { GrpcLinkStream, LINK_CHANNEL_OPTIONS, LINK_METHOD } from "#proto/link/grpc-link-stream.js";
import type { ConnectLink } from "./link-pool.js";

export interface GrpcConnectOptions {
  /** The token that fanouts ask for. */
  readonly token: string | undefined;
  /** Present: TLS. */
  readonly tls: LinkClientTls | undefined;
}

/** PEM texts. */
export interface LinkClientTls {
  /** The authority of the fanouts' certificates. Absent: the system's. */
  readonly ca?: string;
  /** This edge's own, where fanouts ask for one. */
  readonly key?: string;
  readonly cert?: string;
  /** The name in the fanouts' certificates, where it is not the address. */
  readonly serverName?: string;
}

export function grpcConnect(options: GrpcConnectOptions): ConnectLink {
  const channelCredentials = credentialsOf(options.tls);
  return (address) => {
    const client = new Client(address, channelCredentials, {
      ...LINK_CHANNEL_OPTIONS,
      ...(options.tls?.serverName !== undefined && {
        "grpc.ssl_target_name_override": options.tls.serverName,
      }),
    });
    const metadata = new Metadata({ waitForReady: false });
    if (options.token !== undefined) metadata.set("authorization", `Bearer ${options.token}`);
    const call = client.makeBidiStreamRequest(
      LINK_METHOD.path,
      LINK_METHOD.requestSerialize,
      LINK_METHOD.responseDeserialize,
      metadata,
    );
    call.on("status", () => client.close());
    return new GrpcLinkStream(call, () => {
      call.cancel();
      client.close();
    });
  };
}

function credentialsOf(tls: LinkClientTls | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  return credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}
