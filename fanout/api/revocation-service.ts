/** `RevocationService`: revoking tokens, and what is revoked. What it means for sessions is `fanout/revocation`'s. */
import {
  RevocationServiceService,
  type ListRevocationsRequest,
  type ListRevocationsResponse,
  type Revocation as RevocationMessage,
  type RevocationResult,
  type RevokeRequest,
  type RevokeResponse,
} from "#proto/gen/realtime/api/v1/revocation.js";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { MAX_REVOKED_ID_LENGTH, type Revocation } from "#fanout/revocation/revocation.js";
import type { Revocations, Revoke } from "#fanout/revocation/revocations.js";
import type { StoreClock } from "#fanout/store-clock.js";
import { apiMethod, type ApiMethod } from "./api-method.js";
import { checkBatch, FieldCheck } from "./field-check.js";

const MAX_ITEMS = 1_000;
const MAX_LISTED = 1_000;
/** Callers' clocks may be ahead by so much. */
const MAX_AHEAD_MS = 300_000;

type Subject = RevocationMessage["subject"];

export class RevocationService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(RevocationServiceService.revoke, (request) => this.#revoke(request)),
    apiMethod(RevocationServiceService.listRevocations, async (request) => this.#list(request)),
  ];
  readonly #revocations: Pick<Revocations, "revoke" | "list">;
  readonly #clock: StoreClock;

  constructor(options: { revocations: Pick<Revocations, "revoke" | "list">; clock: StoreClock }) {
    this.#revocations = options.revocations;
    this.#clock = options.clock;
  }

  async #revoke(request: RevokeRequest): Promise<RevokeResponse> {
    checkBatch("revocations", request.revocations, MAX_ITEMS);
    const nowMs = Math.floor(this.#clock.nowUs() / 1_000);
    const results: RevocationResult[] = request.revocations.map(() => ({ expiresAtMs: 0 }));
    const places: number[] = [];
    const revokes: Revoke[] = [];
    for (const [index, message] of request.revocations.entries()) {
      try {
        revokes.push(readRevoke(message, new FieldCheck(`revocations[${index}]`), nowMs));
        places.push(index);
      } catch (thrown) {
        results[index] = { error: toGatewayError(thrown).toMessage(), expiresAtMs: 0 };
      }
    }
    const outcomes = revokes.length === 0 ? [] : await this.#revocations.revoke(revokes);
    for (const [index, outcome] of outcomes.entries()) {
      const place = places[index];
      if (place === undefined) continue;
      results[place] =
        "error" in outcome
          ? { error: outcome.error.toMessage(), expiresAtMs: 0 }
          : { expiresAtMs: outcome.expiresAtMs };
    }
    return { results };
  }

  #list(request: ListRevocationsRequest): ListRevocationsResponse {
    const check = new FieldCheck("");
    const app = check.app("app", request.app);
    const subject = request.subject && readSubject(request.subject, check);
    const found = this.#revocations.list({ app, ...subject });
    return { revocations: found.slice(0, MAX_LISTED).map(toMessage), total: found.length };
  }
}

function readRevoke(message: RevocationMessage, check: FieldCheck, nowMs: number): Revoke {
  const app = check.app("app", message.app);
  if (message.subject === undefined) {
    throw new GatewayError("invalid_argument", "say which: token_id or user_id", { field: check.path });
  }
  const subject = readSubject(message.subject, check);
  const { issuedBeforeMs } = message;
  if (subject.subject === "token" && issuedBeforeMs !== 0)
    check.fail("issued_before_ms", "a token is revoked as a whole");
  if (issuedBeforeMs < 0 || issuedBeforeMs > nowMs + MAX_AHEAD_MS)
    check.fail(
      "issued_before_ms",
      "it is no time, or more than 5 minutes ahead; it counts milliseconds since 1970",
    );
  return { app, ...subject, issuedBeforeMs };
}

function readSubject(subject: NonNullable<Subject>, check: FieldCheck): Pick<Revoke, "subject" | "id"> {
  if (subject.$case === "userId") {
    check.identifier("user_id", subject.value);
    return { subject: "user", id: subject.value };
  }
  const { value } = subject;
  if (value === "" || value.length > MAX_REVOKED_ID_LENGTH)
    check.fail("token_id", `it must be given, and has at most ${MAX_REVOKED_ID_LENGTH} characters`);
  return { subject: "token", id: value };
}

function toMessage({ app, subject, id, issuedBeforeMs, expiresAtMs }: Revocation) {
  const which: Subject =
    subject === "token" ? { $case: "tokenId", value: id } : { $case: "userId", value: id };
  return { revocation: { app, subject: which, issuedBeforeMs }, expiresAtMs };
}
