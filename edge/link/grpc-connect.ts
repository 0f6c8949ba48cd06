/** Opens links to fanouts over gRPC: one channel and one stream for each address. */
import { Client, credentials, Metadata, type ChannelCredentials } from "@grpc/grpc-js";
import { GrpcLinkStream, LINK_CHANNEL_OPTIONS, LINK_METHOD } from "#proto/link/grpc-link-stream.js";
import type { ConnectLink } from "./link-pool.js";

export interface GrpcConnectOptions {
  /** The token that fanouts ask for. */
  readonly token: string | undefined;
  /** Present: TLS; the authority of the fanouts' certificates, and this edge's own, where they ask for one. */
  readonly tls: { readonly ca?: Buffer; readonly key?: Buffer; readonly cert?: Buffer } | undefined;
}

export function grpcConnect(options: GrpcConnectOptions): ConnectLink {
  const channelCredentials = credentialsOf(options.tls);
  return (address) => {
    const client = new Client(address, channelCredentials, LINK_CHANNEL_OPTIONS);
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

function credentialsOf(tls: GrpcConnectOptions["tls"]): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null);
}
