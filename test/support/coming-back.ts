/**
 * A client that goes and comes back, at a fake edge: opens sessions, keeps the tokens of their welcomes, and
 * resumes. For unit tests of resuming.
 */
import { expect, vi } from "vitest";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import type { Welcome } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { OpenSession } from "#proto/gen/realtime/link/v1/link.js";
import type { FakeEdge } from "./fake-edge.js";

export type Positions = Readonly<Record<string, Position>>;

export async function untilHeard(edge: FakeEdge, session: number, word: string): Promise<void> {
  await vi.waitFor(() => expect(edge.heard(session)).toContain(word));
}

/** A new session of a user, which follows these channels. */
export async function arrive(
  edge: FakeEdge,
  session: number,
  userId: string,
  ...channels: readonly string[]
): Promise<string> {
  edge.open(session, { userId });
  for (const channel of channels) edge.subscribe(session, channel);
  await untilHeard(edge, session, `subscribed ${channels.at(-1) ?? `user:${userId}`}`);
  return tokenOf(edge, session);
}

/** The socket closes, and everything of it that is to be saved is saved. */
export async function leave(edge: FakeEdge, session: number): Promise<void> {
  edge.say({ $case: "close", value: { session, reason: "client" } });
  await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A connection that announces a resume and sends it as its first frame, which has the id 1. */
export function comeBack(
  edge: FakeEdge,
  session: number,
  client: {
    readonly userId: string;
    readonly resumeToken: string;
    readonly positions?: Positions;
    readonly open?: Partial<OpenSession>;
  },
): void {
  const { userId, resumeToken, positions, open } = client;
  edge.open(session, { userId }, { awaitsResume: true, ...open });
  edge.request(session, { $case: "resume", value: { resumeToken, positions: { ...positions } } });
}

export async function untilResumed(edge: FakeEdge, session: number): Promise<void> {
  await vi.waitFor(() =>
    expect(edge.itemsOf("acknowledge").flatMap((item) => item.sessions)).toContain(session),
  );
  expect(welcomesOf(edge, session).map(({ resumed }) => resumed)).toEqual([true]);
}

/** What the socket was given from this channel and its kind of events, behind the welcome. */
export function heardOf(edge: FakeEdge, session: number, channel: string): readonly string[] {
  return edge.framesOf(session).flatMap(({ body }) => {
    if (body?.$case === "event" && body.value.channel === channel)
      return `${body.value.position?.offset ?? 0}`;
    if (body?.$case === "unsubscribed" && body.value.channel === channel) return `ended ${body.value.reason}`;
    if (body?.$case !== "subscribed" || body.value.channel !== channel) return [];
    return `${body.value.recovered ? "recovered" : "lost"} after ${body.value.position?.offset ?? "?"}`;
  });
}

export function welcomesOf(edge: FakeEdge, session: number): readonly Welcome[] {
  return edge.framesOf(session).flatMap(({ body }) => (body?.$case === "welcome" ? [body.value] : []));
}

/** Of the last welcome. */
export function tokenOf(edge: FakeEdge, session: number): string {
  const welcome = welcomesOf(edge, session).at(-1);
  if (welcome === undefined) throw new Error("there was no welcome");
  return welcome.resumeToken;
}
