/**
 * Revocations in Redis: all in one partition, because they are few and every fanout reads all of them. What came
 * last is found by version; a sharded pub/sub channel says that there is something.
 */
import { randomBytes } from "node:crypto";
import { revocationKeys, type RevocationKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import { readRevocationKey, revocationKey, type Revocation } from "./revocation.js";
import {
  DEFAULT_MAX_REVOCATIONS,
  type AddOutcome,
  type RevocationListener,
  type RevocationMark,
  type RevocationNews,
  type RevocationStore,
} from "./revocation-store.js";

const ADD = loadScript(import.meta.url, "./lua/add-revocations.lua");
const READ = loadScript(import.meta.url, "./lua/read-revocations.lua");

export interface RedisRevocationStoreOptions {
  readonly connection: RedisConnection;
  readonly maxRevocations?: number;
  /** Revocations of another name are others. */
  readonly name?: string;
}

/** Nothing else runs in Redis while a script does. */
const ADDED_PER_CALL = 500;
const PAGE = 1000;

export class RedisRevocationStore implements RevocationStore {
  readonly #connection: RedisConnection;
  readonly #maxRevocations: number;
  readonly #keys: RevocationKeys;

  constructor(options: RedisRevocationStoreOptions) {
    this.#connection = options.connection;
    this.#maxRevocations = options.maxRevocations ?? DEFAULT_MAX_REVOCATIONS;
    this.#keys = revocationKeys(options.name);
  }

  async add(revocations: readonly Revocation[]): Promise<readonly AddOutcome[]> {
    const { partition, revocations: all, versions, expiries, mark, news } = this.#keys;
    const outcomes: AddOutcome[] = [];
    for (let start = 0; start < revocations.length; start += ADDED_PER_CALL) {
      const reply = await this.#connection.script(ADD, {
        partition,
        keys: [all, versions, expiries, mark, news],
        args: [
          randomBytes(16).toString("hex"),
          this.#maxRevocations,
          ...revocations
            .slice(start, start + ADDED_PER_CALL)
            .flatMap((each) => [revocationKey(each), each.issuedBeforeMs, each.expiresAtMs]),
        ],
      });
      outcomes.push(...listOf(reply).map((kept) => (integerOf(kept) === 1 ? "kept" : "full")));
    }
    return outcomes;
  }

  async since(mark: RevocationMark | undefined): Promise<RevocationNews> {
    let isWhole = false;
    let revocations: Revocation[] = [];
    // An epoch that no store has: it begins at the first.
    let at = mark ?? { epoch: "-", version: 0 };
    for (;;) {
      const page = await this.#read(at);
      if (page.isWhole) {
        isWhole = true;
        revocations = [];
      }
      revocations.push(...page.revocations);
      if (page.length < PAGE) return { mark: page.mark, isWhole, revocations };
      at = { epoch: page.mark.epoch, version: page.lastVersion };
    }
  }

  async listen(listener: RevocationListener): Promise<void> {
    const { partition, news } = this.#keys;
    await this.#connection.subscriber.subscribe(news, {
      partition,
      onMessage: () => listener.added(),
      onResubscribed: () => listener.interrupted(),
    });
  }

  close(): void {
    this.#connection.subscriber.unsubscribe(this.#keys.news);
  }

  async #read({ epoch, version }: RevocationMark) {
    const { partition, revocations, versions, mark } = this.#keys;
    const reply = await this.#connection.script(READ, {
      partition,
      keys: [revocations, versions, mark],
      args: [epoch, version, PAGE],
    });
    const [nowEpoch, nowVersion, whole, page] = listOf(reply);
    const fields = listOf(page);
    return {
      mark: { epoch: bytesOf(nowEpoch).toString(), version: integerOf(nowVersion) },
      isWhole: integerOf(whole) === 1,
      revocations: readPage(fields),
      length: fields.length / 3,
      lastVersion: integerOf(fields.at(-1)),
    };
  }
}

/** Each is subject, value, version. */
function readPage(fields: readonly unknown[]): Revocation[] {
  const revocations: Revocation[] = [];
  for (let index = 0; index + 2 < fields.length; index += 3) {
    const subject = readRevocationKey(bytesOf(fields[index]).toString());
    const [, issuedBeforeMs, expiresAtMs] = /^(\d+):(\d+)$/.exec(bytesOf(fields[index + 1]).toString()) ?? [];
    if (subject === undefined || issuedBeforeMs === undefined) {
      throw new TypeError("the store holds a revocation that cannot be read");
    }
    revocations.push({
      ...subject,
      issuedBeforeMs: Number(issuedBeforeMs),
      expiresAtMs: Number(expiresAtMs),
    });
  }
  return revocations;
}
