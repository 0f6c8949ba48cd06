/**
 * An identity provider's JWKS endpoint as a real HTTP server on loopback, whose keys and faults a test
 * sets. It answers on `/jwks`; everything else is 404.
 */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from "jose";

/** How the provider answers: rightly, with a fault, or (`hang`) not at all. */
export type JwksAnswer = "keys" | "status_500" | "no_json" | "no_keys" | "too_long" | "redirect" | "hang";

export class JwksProvider {
  answer: JwksAnswer = "keys";
  keys: readonly JWK[] = [];
  requests = 0;
  readonly #server: Server;
  /** Answers that `hang` holds back. */
  readonly #held: ServerResponse[] = [];

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request, response: ServerResponse) => {
      this.requests += 1;
      if (request.url === "/jwks") this.#respond(response);
      else if (request.url === "/elsewhere") response.end(JSON.stringify({ keys: this.keys }));
      else response.writeHead(404).end();
    });
  }

  static async start(): Promise<JwksProvider> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new JwksProvider(server);
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the provider does not listen");
    return `http://127.0.0.1:${address.port}/jwks`;
  }

  /** Lets those who were kept waiting go, with the keys of now. */
  release(): void {
    this.answer = "keys";
    for (const response of this.#held.splice(0)) this.#respond(response);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    if (this.#server.listening) await once(this.#server, "close");
  }

  #respond(response: ServerResponse): void {
    switch (this.answer) {
      case "keys":
        response.writeHead(200, { "content-type": "application/json" });
        response.end(JSON.stringify({ keys: this.keys }));
        return;
      case "status_500":
        response.writeHead(500).end(JSON.stringify({ keys: this.keys }));
        return;
      case "no_json":
        response.end("<html>");
        return;
      case "no_keys":
        response.end(JSON.stringify({ keys: [] }));
        return;
      case "too_long":
        response.end(JSON.stringify({ keys: this.keys, padding: "x".repeat(300 * 1024) }));
        return;
      case "redirect":
        response.writeHead(302, { location: "/elsewhere" }).end();
        return;
      case "hang":
        this.#held.push(response);
        return;
    }
  }
}

/** A key pair whose public half a provider can list, and that signs tokens. */
export class ProviderKey {
  private constructor(
    readonly algorithm: string,
    readonly keyId: string,
    readonly privateKey: CryptoKey,
    readonly publicKey: CryptoKey,
    readonly publicJwk: JWK,
  ) {}

  static async generate(algorithm: string, keyId: string): Promise<ProviderKey> {
    const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
    const publicJwk = { ...(await exportJWK(publicKey)), kid: keyId, alg: algorithm, use: "sig" };
    return new ProviderKey(algorithm, keyId, privateKey, publicKey, publicJwk);
  }

  async sign(payload: JWTPayload, header: { readonly kid?: string } = { kid: this.keyId }): Promise<string> {
    return new SignJWT(payload).setProtectedHeader({ alg: this.algorithm, ...header }).sign(this.privateKey);
  }
}
