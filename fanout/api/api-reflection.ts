/**
 * Server reflection, for tools such as grpcurl in development. It reads the .proto files, which stand at
 * `proto/` beside this folder's parent, in the sources and in the build alike.
 */
import { fileURLToPath } from "node:url";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { protoPath as healthProto } from "grpc-health-check";

export function makeReflection(): ReflectionService {
  const protoRoot = fileURLToPath(new URL("../../proto", import.meta.url));
  return new ReflectionService(
    loadSync(
      [
        "realtime/api/v1/api.proto",
        "realtime/api/v1/revocation.proto",
        "realtime/api/v1/offers.proto",
        "realtime/api/v1/locations.proto",
        "realtime/api/v1/presence.proto",
        "realtime/api/v1/notifications.proto",
        healthProto,
      ],
      { includeDirs: [protoRoot] },
    ),
  );
}
