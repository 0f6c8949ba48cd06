/** Who may call the API over TLS: client certificates, and tokens under a server certificate. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { credentials, status } from "@grpc/grpc-js";
import { canMakeCertificates, makeAuthority, makeCertificate } from "#test/support/certificates.js";
import { failed } from "./api-client.js";
import { ApiHarness, TOKEN, type HarnessOptions } from "./api-harness.js";

const item = { channel: "order:42", event: { order_status: { order_id: "42", status: "a" } } };

let api: ApiHarness | undefined;
async function start(options: HarnessOptions): Promise<ApiHarness> {
  api = await ApiHarness.start(options);
  return api;
}
afterEach(async () => {
  await api?.stop();
  api = undefined;
});

describe.skipIf(!canMakeCertificates())("client certificates", () => {
  let folder = "";
  const read = (name: string) => readFileSync(join(folder, name));
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "api-certificates-"));
    for (const authority of ["ours", "foreign"]) makeAuthority(folder, authority);
    makeCertificate(folder, { name: "server", authority: "ours" });
    makeCertificate(folder, { name: "service", authority: "ours" });
    makeCertificate(folder, { name: "stranger", authority: "foreign" });
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const startMutual = (serviceTokens: string[] = []) =>
    start({
      serviceTokens,
      tls: { key: read("server.key"), cert: read("server.crt"), clientCa: read("ours.crt") },
    });
  const withCertificate = (name: string) =>
    credentials.createSsl(read("ours.crt"), read(`${name}.key`), read(`${name}.crt`));

  it("of our authority admit a caller without a token", async () => {
    const harness = await startMutual();
    await harness.client({ token: "", credentials: withCertificate("service") }).publish([item]);
    expect(harness.server.describeAccess()).toBe("open to callers with a client certificate, over TLS");
  });

  it("of a known authority let the server stand anywhere without tokens", () => {
    const tls = { key: read("server.key"), cert: read("server.crt"), clientCa: read("ours.crt") };
    expect(() => new ApiHarness({ host: "0.0.0.0", serviceTokens: [], tls })).not.toThrow();
    const { key, cert } = tls;
    expect(() => new ApiHarness({ host: "0.0.0.0", serviceTokens: [], tls: { key, cert } })).toThrow(
      /API_TOKENS/,
    );
  });

  it.each([
    ["none", () => credentials.createSsl(read("ours.crt"))],
    ["one of another authority", () => withCertificate("stranger")],
    ["plain text", () => credentials.createInsecure()],
  ])("keep out a caller with %s, even with a token", async (_, make) => {
    const harness = await startMutual([TOKEN]);
    const client = harness.client({ token: TOKEN, credentials: make() });
    const error = await failed(client.publish([item], { timeoutMs: 5_000 }));
    expect(error.code).toBe(status.UNAVAILABLE);
    expect(harness.broker.begun).toHaveLength(0);
  });

  it("are not asked for over TLS with service tokens", async () => {
    const tls = { key: read("server.key"), cert: read("server.crt") };
    const harness = await start({ tls });
    const over = credentials.createSsl(read("ours.crt"));
    await harness.client({ credentials: over }).publish([item]);
    const error = await failed(harness.client({ token: "wrong", credentials: over }).publish([item]));
    expect(error.code).toBe(status.UNAUTHENTICATED);
    expect(harness.server.describeAccess()).toBe("open to callers with a service token, over TLS");
  });
});
