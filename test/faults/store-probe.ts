/**
 * A backend's questions while the store is in trouble: that a write is refused as `unavailable`, with a time to
 * come back after, as long as the store is away; and how long it takes until a write is stored again.
 */
import { CallFailed } from "#test/contract/api-client.js";
import type { Cluster } from "#test/e2e/cluster.js";
import { waitFor } from "#test/support/wait-for.js";

const UNAVAILABLE_STATUS = 14;
const CALL_TIMEOUT_MS = 5000;

interface Item {
  readonly outcome: string;
  readonly error: { readonly code: string; readonly retry_after_ms: number } | null;
}

/** Its channels are followed by nobody, and each is asked of every fanout. */
export class StoreProbe {
  #count = 0;

  constructor(private readonly cluster: Cluster) {}

  /** What fanouts said that was neither "stored" nor "unavailable, come back then and then". */
  async wrongRefusals(): Promise<string[]> {
    const answers = await Promise.all(this.cluster.fanouts.map((_, fanout) => this.#write(fanout)));
    return answers.filter((answer) => answer !== "stored" && answer !== "unavailable");
  }

  /** The milliseconds until each fanout has stored a write. */
  async untilStored(timeoutMs: number): Promise<number> {
    const beganMs = performance.now();
    await Promise.all(
      this.cluster.fanouts.map((_, fanout) =>
        waitFor(async () => (await this.#write(fanout)) === "stored", {
          what: `a write to be stored by fanout ${fanout}`,
          timeoutMs,
          pollMs: 50,
        }),
      ),
    );
    return performance.now() - beganMs;
  }

  async #write(fanout: number): Promise<string> {
    this.#count += 1;
    const id = `probe-${this.#count}`;
    const item = {
      ...{ app: this.cluster.app, channel: `order:${id}`, idempotency_key: id },
      event: { order_status: { order_id: id, status: id } },
    };
    const api = this.cluster.api(fanout);
    try {
      const { response } = await api.publish([item], { timeoutMs: CALL_TIMEOUT_MS });
      const [result] = response["results"] as readonly Item[];
      if (result === undefined) return "no result";
      if (result.error === null) return "stored";
      const { code, retry_after_ms: retryAfterMs } = result.error;
      return code === "ERROR_CODE_UNAVAILABLE" && retryAfterMs > 0
        ? "unavailable"
        : JSON.stringify(result.error);
    } catch (error) {
      return error instanceof CallFailed && error.code === UNAVAILABLE_STATUS ? "unavailable" : String(error);
    } finally {
      api.close();
    }
  }
}
