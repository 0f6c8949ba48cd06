/**
 * One streamed call of a backend service, as `api-client.ts` opens it: what it sent, what came back and how it
 * ended. It reads as fast as answers come, until it is told not to.
 */
import type { ClientDuplexStream, Metadata, StatusObject } from "@grpc/grpc-js";
import { waitFor } from "#test/support/wait-for.js";
import type { CallFailed, Json } from "./api-client.js";

export interface StreamEnd {
  /** 0 where the call ended well. */
  readonly code: number;
  readonly details: string;
  /** `realtime.client.v1.Error` as read by proto-loader, where the server sent one. */
  readonly error: object | undefined;
}

/** `PublishStreamResponse` as read by proto-loader. */
export interface StreamedAnswer {
  readonly number: number;
  readonly results: readonly Json[];
}

export class ApiStream {
  /** All that came, where nobody listens. */
  readonly answers: StreamedAnswer[] = [];
  /** Resolves however the call ends. */
  readonly ended: Promise<StreamEnd>;
  readonly #call: ClientDuplexStream<Json | Buffer, StreamedAnswer>;
  #onAnswer: ((answer: StreamedAnswer) => void) | undefined;

  constructor(
    call: ClientDuplexStream<Json | Buffer, StreamedAnswer>,
    failureOf: (end: { code: number; details: string; metadata: Metadata }) => CallFailed,
  ) {
    this.#call = call;
    call.on("data", (answer: StreamedAnswer) => {
      if (this.#onAnswer === undefined) this.answers.push(answer);
      else this.#onAnswer(answer);
    });
    // Told by the status too.
    call.on("error", () => undefined);
    this.ended = new Promise((resolve) => {
      call.on("status", ({ code, details, metadata }: StatusObject) => {
        resolve({ code, details, error: failureOf({ code, details, metadata }).error });
      });
    });
  }

  /** A message, or any bytes. Answers with whether the transport takes more at once; sends in either case. */
  send(message: Json | Buffer): boolean {
    return this.#call.write(message);
  }

  /** From here on answers are the listener's, and are not kept. */
  onAnswer(listener: (answer: StreamedAnswer) => void): void {
    this.#onAnswer = listener;
  }

  /** The answer to this number. */
  answer(number: number): Promise<StreamedAnswer> {
    return waitFor(() => this.answers.find((answer) => answer.number === number), {
      what: `the answer to request ${number}`,
    });
  }

  /** Sends nothing more; the call ends when everything is answered. */
  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }

  pauseReading(): void {
    this.#call.pause();
  }

  resumeReading(): void {
    this.#call.resume();
  }
}
