/**
 * What processes keep in memory after everything that can be collected is: a heap snapshot makes V8
 * collect, and says which texts are still alive. Processes must be started with `env`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunningService } from "#test/support/process.js";
import { waitFor } from "#test/support/wait-for.js";

export interface MemoryUse {
  /** Of V8's heap, and outside of it: buffers. */
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** Of the process, as the system counts it; never all of it comes back. */
  readonly residentBytes: number;
  /** Which of the texts that were asked for are still in the heap. */
  readonly textsAlive: readonly string[];
}

export class ProcessMemory {
  readonly #directory = mkdtempSync(join(tmpdir(), "heap-"));

  get env(): Record<string, string> {
    return { NODE_OPTIONS: `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${this.#directory}` };
  }

  /** Stops the process for about a second. */
  async measure(service: RunningService, texts: readonly string[] = []): Promise<MemoryUse> {
    service.process.signal("SIGUSR2");
    const name = await waitFor(
      () => readdirSync(this.#directory).find((file) => file.includes(`.${service.pid}.`)),
      { what: `a heap snapshot of ${service.name}`, timeoutMs: 20_000 },
    );
    // The answer comes when the snapshot is written. A connection that was kept from an earlier question may be
    // over by then; the next try makes a new one.
    const metrics = await waitFor(async () => (await fetch(service.url("METRICS_PORT", "/metrics"))).text(), {
      what: `the metrics of ${service.name}`,
      timeoutMs: 20_000,
    });
    const snapshot = readFileSync(join(this.#directory, name), "utf8");
    rmSync(join(this.#directory, name));
    return {
      heapBytes: valueOf(metrics, "nodejs_heap_size_used_bytes"),
      externalBytes: valueOf(metrics, "nodejs_external_memory_bytes"),
      residentBytes: valueOf(metrics, "process_resident_memory_bytes"),
      textsAlive: texts.filter((text) => snapshot.includes(text)),
    };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function valueOf(metrics: string, name: string): number {
  const line = metrics.split("\n").find((each) => each.startsWith(`${name} `));
  if (line === undefined) throw new Error(`the process has no metric ${name}`);
  return Number(line.slice(name.length + 1));
}
