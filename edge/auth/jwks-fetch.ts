/**
 * Fetches a JWKS document: one GET, no redirects, bounded in time and in (decompressed) size. When to
 * fetch, and what a failure means, is for `jwks-keys.ts`.
 */
import type { ReadableStream } from "node:stream/web";

export interface JwksRequest {
  readonly url: URL;
  readonly timeoutMs: number;
  readonly maxBodyBytes: number;
  /** Ends the fetch at once, as at shutdown. */
  readonly signal: AbortSignal;
}

export async function fetchJwks({ url, timeoutMs, maxBodyBytes, signal }: JwksRequest): Promise<unknown> {
  const response = await fetch(url, {
    headers: { accept: "application/jwk-set+json, application/json" },
    // A key set from elsewhere than configured is no key set.
    redirect: "error",
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the provider answered with status ${response.status}`);
  }
  return JSON.parse(await readBounded(response, maxBodyBytes));
}

async function readBounded(response: Response, maxBodyBytes: number): Promise<string> {
  const body: ReadableStream<Uint8Array> | null = response.body;
  if (body === null) throw new Error("the provider answered without a body");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop by a throw cancels the body and with it the connection.
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > maxBodyBytes) throw new Error(`the provider's answer is longer than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
