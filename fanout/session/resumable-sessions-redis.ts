/**
 * Resumable sessions in Redis: one hash for each session and one index for each user, in the user's partition.
 * Saving and resuming are one script each.
 */
import { resumableKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf, pairsOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import {
  MAX_RESUMABLE_SESSIONS,
  REMOVED_FOR_MS,
  type Cursor,
  type ResumableSessions,
  type ResumeAnswer,
  type ResumeClaim,
  type SaveOutcome,
  type SessionOwner,
  type SessionSave,
} from "./resumable-sessions.js";

const SAVE = loadScript(import.meta.url, "./lua/save-resumable.lua");
const REMOVE = loadScript(import.meta.url, "./lua/remove-resumable.lua");
const RESUME = loadScript(import.meta.url, "./lua/resume-session.lua");

const DAY_MS = 24 * 3_600_000;

export class RedisResumableSessions implements ResumableSessions {
  readonly ttlMs: number;
  readonly #connection: RedisConnection;

  constructor(options: { readonly connection: RedisConnection; readonly ttlMs?: number }) {
    this.#connection = options.connection;
    this.ttlMs = options.ttlMs ?? DAY_MS;
  }

  async save(save: SessionSave): Promise<SaveOutcome> {
    const { partition, index, recordPrefix, record, part } = resumableKeys(save, save.sessionId);
    const outcome = bytesOf(
      await this.#connection.script(SAVE, {
        partition,
        keys: [record, index],
        args: [
          part,
          save.generation,
          save.isGenerationConfirmed ? 1 : 0,
          save.connectionId,
          save.homeStampUs,
          this.ttlMs,
          MAX_RESUMABLE_SESSIONS,
          save.isWhole ? 1 : 0,
          recordPrefix,
          ...[...save.cursors].flatMap(([channel, cursor]) => [channel, encodeCursor(cursor)]),
        ],
      }),
    ).toString();
    switch (outcome) {
      case "saved":
      case "missing":
      case "superseded":
      case "replaced":
      case "removed":
        return outcome;
      default:
        throw new Error("an unknown outcome of save-resumable.lua");
    }
  }

  async remove(owner: SessionOwner, sessionId: string): Promise<boolean> {
    const { partition, index, record, part } = resumableKeys(owner, sessionId);
    const removed = await this.#connection.script(REMOVE, {
      partition,
      keys: [record, index],
      args: [part, REMOVED_FOR_MS],
    });
    return integerOf(removed) === 1;
  }

  async resume(claim: ResumeClaim): Promise<ResumeAnswer> {
    const { partition, index, record, part } = resumableKeys(claim, claim.sessionId);
    const [outcome, generation, replaced, fields] = listOf(
      await this.#connection.script(RESUME, {
        partition,
        keys: [record, index],
        args: [part, claim.generation, claim.connectionId, claim.homeStampUs, this.ttlMs],
      }),
    );
    const word = bytesOf(outcome).toString();
    switch (word) {
      case "gone":
      case "used":
      case "superseded":
        return { outcome: word };
      case "resumed":
        return {
          outcome: word,
          generation: integerOf(generation),
          replacedConnectionId: bytesOf(replaced).toString(),
          cursors: readCursors(fields),
        };
      default:
        throw new Error("an unknown outcome of resume-session.lua");
    }
  }
}

/** "offset tag epoch"; empty where unknown, "-" where removed. */
function encodeCursor(cursor: Cursor | "removed"): string {
  if (cursor === "removed") return "-";
  return cursor === "unknown" ? "" : `${cursor.offset} ${cursor.tag} ${cursor.epoch}`;
}

function readCursors(fields: unknown): ReadonlyMap<string, Cursor> {
  const cursors = new Map<string, Cursor>();
  for (const [field, value] of pairsOf(fields)) {
    const channel = field.toString();
    // Only channels have a colon in their name.
    if (channel.includes(":")) cursors.set(channel, decodeCursor(value.toString()));
  }
  return cursors;
}

function decodeCursor(text: string): Cursor {
  const [, offset, tag, epoch] = /^(\d+) (\d+) (.*)$/s.exec(text) ?? [];
  if (offset === undefined || tag === undefined || epoch === undefined) return "unknown";
  return { epoch, offset: Number(offset), tag: Number(tag) };
}
