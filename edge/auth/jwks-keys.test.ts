import { beforeAll, beforeEach, afterEach, describe, expect, it } from "vitest";
import { JwksProvider, ProviderKey, type JwksAnswer } from "#test/support/jwks-provider.js";
import { AuthenticationError, type AuthenticationFailure } from "./authentication-error.js";
import { JwksKeys, type JwksTiming } from "./jwks-keys.js";

const TIMING: JwksTiming = {
  maxAgeMs: 600_000,
  cooldownMs: 30_000,
  failureCooldownMs: 1000,
  timeoutMs: 5000,
};

let first: ProviderKey;
let second: ProviderKey;
let edwards: ProviderKey;
let provider: JwksProvider;
let keys: JwksKeys;
let nowMs: number;
let loadErrors: unknown[];

beforeAll(async () => {
  first = await ProviderKey.generate("ES256", "first");
  second = await ProviderKey.generate("ES256", "second");
  edwards = await ProviderKey.generate("EdDSA", "edwards");
});

beforeEach(async () => {
  nowMs = 1_000_000;
  loadErrors = [];
  provider = await JwksProvider.start();
  provider.keys = [first.publicJwk];
  keys = keysWith({});
});

afterEach(async () => {
  keys.close();
  await provider.close();
});

function keysWith(timing: Partial<JwksTiming>): JwksKeys {
  return new JwksKeys({
    url: provider.url,
    timing: { ...TIMING, ...timing },
    nowMs: () => nowMs,
    onLoadFailed: (error) => loadErrors.push(error),
  });
}

async function reasonOf(found: Promise<unknown>): Promise<AuthenticationFailure | "found"> {
  try {
    await found;
    return "found";
  } catch (error) {
    if (error instanceof AuthenticationError) return error.reason;
    throw error;
  }
}

describe("JwksKeys", () => {
  it("loads once for many tokens that come at the same time", async () => {
    const found = await Promise.all(Array.from({ length: 50 }, () => keys.find("ES256", "first")));
    expect(new Set(found).size).toBe(1);
    expect(provider.requests).toBe(1);
  });

  it("finds a key that the provider added, once the cooldown is over", async () => {
    await keys.find("ES256", "first");
    provider.keys = [first.publicJwk, second.publicJwk];
    nowMs += TIMING.cooldownMs;
    await keys.find("ES256", "second");
    expect(provider.requests).toBe(2);
  });

  it("asks the provider once per cooldown, however many unknown key ids come", async () => {
    await keys.find("ES256", "first");
    nowMs += TIMING.cooldownMs;
    const unknown = Array.from({ length: 100 }, (_, index) => reasonOf(keys.find("ES256", `k${index}`)));
    expect(new Set(await Promise.all(unknown))).toEqual(new Set(["unknown_key"]));
    expect(await reasonOf(keys.find("ES256", "k100"))).toBe("unknown_key");
    expect(provider.requests).toBe(2);
  });

  it("no more knows a key that the provider took away", async () => {
    await keys.find("ES256", "first");
    provider.keys = [second.publicJwk];
    nowMs += TIMING.cooldownMs;
    await keys.find("ES256", "second");
    expect(await reasonOf(keys.find("ES256", "first"))).toBe("unknown_key");
  });

  it("answers a known key at once while old keys are reloaded behind it", async () => {
    await keys.find("ES256", "first");
    provider.answer = "hang";
    provider.keys = [second.publicJwk];
    nowMs += TIMING.maxAgeMs + 1;
    expect(await reasonOf(keys.find("ES256", "first"))).toBe("found");
    const reloaded = keys.reload();
    await expect.poll(() => provider.requests).toBe(2);
    expect(await reasonOf(keys.find("ES256", "first"))).toBe("found");
    provider.release();
    await reloaded;
    expect(await reasonOf(keys.find("ES256", "second"))).toBe("found");
    expect(await reasonOf(keys.find("ES256", "first"))).toBe("unknown_key");
    expect(provider.requests).toBe(2);
  });

  const faults: JwksAnswer[] = ["status_500", "no_json", "no_keys", "too_long", "redirect"];
  it.each(faults)("keeps the keys it has when the provider answers with %s", async (fault) => {
    await keys.find("ES256", "first");
    provider.answer = fault;
    nowMs += TIMING.maxAgeMs + 1;
    await keys.find("ES256", "first");
    await keys.reload();
    expect(keys.failedLoads).toBe(1);
    expect(loadErrors).toHaveLength(1);
    expect(await reasonOf(keys.find("ES256", "first"))).toBe("found");
    expect(keys.ageMs()).toBe(TIMING.maxAgeMs + 1);
  });

  it("keeps the keys it has when the provider is gone", async () => {
    await keys.find("ES256", "first");
    await provider.close();
    nowMs += TIMING.maxAgeMs + 1;
    await keys.find("ES256", "first");
    await keys.reload();
    expect(keys.failedLoads).toBe(1);
    expect(await reasonOf(keys.find("ES256", "first"))).toBe("found");
  });

  it("gives up on a provider that does not answer in time", async () => {
    provider.answer = "hang";
    const impatient = keysWith({ timeoutMs: 50 });
    expect(await reasonOf(impatient.find("ES256", "first"))).toBe("keys_unavailable");
    expect(impatient.failedLoads).toBe(1);
  });

  it("says that keys are unavailable, not unknown, while the provider fails, and when to come back", async () => {
    provider.answer = "status_500";
    const refusal = await keys.find("ES256", "first").catch((error: unknown) => error);
    expect(refusal).toMatchObject({ reason: "keys_unavailable", kind: "unavailable", retryAfterMs: 1000 });
    provider.answer = "keys";
    nowMs += TIMING.failureCooldownMs;
    expect(await reasonOf(keys.find("ES256", "first"))).toBe("found");
  });

  it("asks a failing provider ever more rarely, down to once per cooldown", async () => {
    provider.answer = "status_500";
    for (let elapsedSeconds = 0; elapsedSeconds < 100; elapsedSeconds++) {
      await reasonOf(keys.find("ES256", "first"));
      nowMs += 1000;
    }
    // At 0, 1, 3, 7, 15, 31, then every 30 s: 61, 91.
    expect(provider.requests).toBe(8);
  });

  it("gives a token without a key id the only key of its algorithm, and none where there are two", async () => {
    provider.keys = [first.publicJwk, edwards.publicJwk];
    await keys.find("EdDSA", undefined);
    nowMs += TIMING.cooldownMs;
    provider.keys = [first.publicJwk, second.publicJwk, edwards.publicJwk];
    await keys.reload();
    expect(await reasonOf(keys.find("ES256", undefined))).toBe("unknown_key");
    expect(await reasonOf(keys.find("EdDSA", undefined))).toBe("found");
  });

  it("never gives a key to a token of another algorithm than the key's", async () => {
    expect(await reasonOf(keys.find("EdDSA", "first"))).toBe("unknown_key");
    expect(await reasonOf(keys.find("RS256", "first"))).toBe("unknown_key");
  });

  it("fetches no more once closed, and does not report the fetch it ended as a failure", async () => {
    provider.answer = "hang";
    const loading = keys.reload();
    await expect.poll(() => provider.requests).toBe(1);
    keys.close();
    await loading;
    await keys.reload();
    expect(provider.requests).toBe(1);
    expect(loadErrors).toEqual([]);
  });

  it.each(["", "id.example.com/jwks", "file:///etc/keys.json"])("refuses %j for a URL", (url) => {
    expect(() => new JwksKeys({ url })).toThrow(/JWT_JWKS_URL/);
  });
});
