/**
 * The checker of chat, offers and presence can fail: its own fleet and verdict against a gateway whose broker loses,
 * doubles or swaps what was said, and against offers that have two winners.
 */
import { describe, expect, it, vi } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { parseChannelName } from "#fanout/channel/channel.js";
import { MemoryChatMarks } from "#fanout/chat/marks-memory.js";
import { MemoryOffers } from "#fanout/offer/offers-memory.js";
import type { Offers } from "#fanout/offer/offers.js";
import { GatewayError } from "#proto/errors.js";
import { signToken } from "#services/token/sign-token.js";
import { DomainFleet } from "./domain-fleet.js";
import type { DomainGateway } from "./domain-gateway.js";
import { DomainLedger } from "./domain-ledger.js";
import { OfferBackend } from "./domain-offers.js";
import { judgeDomain, type DomainFigure } from "./domain-verdict.js";
import { LyingBroker, type Lie } from "./lying-broker.js";
import { Random } from "#test/support/random.js";
import { SMALL_GATEWAY_SECRET, startSmallGateway, type SmallGateway } from "./small-gateway.js";
import { waitFor } from "#test/support/wait-for.js";

const APP = "default";
function asked({ url, fanout, marks }: SmallGateway): DomainGateway {
  const channels = new Set<string>();
  return {
    edges: () => [url],
    token: (userId) =>
      signToken(
        { sub: userId, role: "porter", app: APP, ttlSeconds: 60 },
        { ...DEFAULT_JWT_OPTIONS, secret: SMALL_GATEWAY_SECRET },
      ),
    grantMembers: async (name, userIds) => {
      channels.add(name);
      const channel = parseChannelName(APP, name, "");
      for (const userId of userIds) {
        const part = { channel, userId, relation: "member" as const, expiresAtMs: Number.MAX_SAFE_INTEGER };
        await fanout.participations.grant(part);
      }
    },
    createOffer: async ({ offerId, candidates, timeLimitMs }) => {
      const request = { app: APP, offerId, subjectId: offerId, mode: "all_at_once" as const, candidates };
      const rest = { candidateTimeLimitMs: 0, data: undefined, correlationId: "", traceparent: "" };
      await fanout.offers.desk.create({ ...request, timeLimitMs, ...rest });
    },
    withdrawOffer: async (offerId) => {
      await fanout.offers.desk.withdraw({ app: APP, offerId }, "").catch((error: unknown) => {
        if (!(error instanceof GatewayError) || error.kind !== "conflict") throw error;
      });
    },
    viewOffer: async (offerId) => {
      const view = await fanout.offers.desk.view({ app: APP, offerId });
      if (view === undefined) throw new Error(`there is no ${offerId}`);
      return view;
    },
    marksOf: async (userId) => {
      const names = [...channels];
      const standings = await marks.standings(
        names.map((name) => parseChannelName(APP, name, "")),
        userId,
      );
      return new Map(standings.map((standing) => [standing.channel.name, standing]));
    },
  };
}

/** A short life of the fleet; which figures the verdict has. */
async function check(lie: Lie, offers: Offers = new MemoryOffers()): Promise<ReadonlySet<DomainFigure>> {
  const channels = new MemoryChannels();
  const broker = new LyingBroker(new MemoryBroker({ channels }), lie);
  const small = await startSmallGateway({ broker, offers, marks: new MemoryChatMarks(channels.chat) });
  const { ledger, backend, fleet } = fleetOn(small);
  try {
    await fleet.start();
    backend.start(fleet.userIds);
    await waitFor(() => ledger.chats.size > 40 && ledger.offers.size > 10, {
      what: "a little life",
      timeoutMs: 30_000,
    });
    await backend.finish();
    await fleet.finish();
    const findings = () => judgeDomain(ledger);
    await waitFor(() => findings().length === 0, { what: "nothing to find", timeoutMs: 500 }).catch(
      () => undefined, // What there is, is the verdict's to tell.
    );
    return new Set(findings().map(({ figure }) => figure));
  } finally {
    fleet.stop();
    await small.stop();
  }
}

function fleetOn(small: SmallGateway) {
  const gateway = asked(small);
  const random = new Random(7);
  const ledger = new DomainLedger();
  const backend = new OfferBackend({
    gateway,
    ledger,
    random: random.branch(),
    everyMs: 30,
    deadlineMs: 2_000,
  });
  const given = {
    gateway,
    app: APP,
    ledger,
    random: random.branch(),
    backend,
    deadlineMs: 1_000,
    settleMs: 100,
  };
  const fleet = new DomainFleet({ ...given, users: 6, groups: 2 });
  return { ledger, backend, fleet };
}

// A little life of the fleet takes longer on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const isChat = (payload: Uint8Array): boolean => Buffer.from(payload).includes(" says ");

it("an honest gateway passes", async () => {
  expect([...(await check((events) => events))]).toEqual([]);
});

// Each has a gateway of its own, and mostly waits.
describe.concurrent("of what a gateway does wrong", () => {
  it("a message that is lost without a trace is found", async () => {
    const found = await check((events) =>
      events.filter(({ payload }, index) => !isChat(payload) || index % 7 !== 3),
    );
    expect([...found]).toEqual(expect.arrayContaining(["chatLost", "chatNumbers"]));
  });

  it("a message that comes again is found", async () => {
    const found = await check((events) =>
      events.flatMap((event, index) => (isChat(event.payload) && index % 5 === 3 ? [event, event] : [event])),
    );
    expect([...found]).toEqual(expect.arrayContaining(["chatRepeated", "chatDisordered"]));
  });

  it("messages in another order are found", async () => {
    const found = await check((events) =>
      events.slice(0, events.length - (events.length % 2)).flatMap((event, index, all) => {
        const next = all[index + 1];
        return index % 2 === 0 && next !== undefined ? [next, event] : [];
      }),
    );
    expect(found).toContain("chatDisordered");
  });

  it("a loser who is not told is found", async () => {
    const found = await check((events) =>
      events.filter(({ payload }, index) => isChat(payload) || index % 5 !== 4),
    );
    expect(found).toContain("offerUntold");
  });

  it("two winners of one offer are found", async () => {
    const offers = new MemoryOffers();
    const { apply } = offers;
    offers.apply = async (name, command) => {
      const answer = await apply.call(offers, name, command);
      const isLoser = command.type === "accept" && answer.outcome === "over" && answer.state === "accepted";
      return isLoser ? { ...answer, outcome: "repeated" } : answer;
    };
    expect(await check((events) => events, offers)).toContain("offerWinners");
  });
});
