/**
 * What a process keeps in memory when everything that can be collected is: asked over the inspector, which is
 * fast enough (unlike a heap snapshot) not to look like a frozen process. Processes are started with `INSPECTED`.
 */
import { once } from "node:events";
import WebSocket from "ws";
import type { RunningService } from "#test/support/process.js";

export const INSPECTED: Readonly<Record<string, string>> = { NODE_OPTIONS: "--inspect=127.0.0.1:0" };

/** Of the heap and of buffers outside of it, over all these processes. */
export async function collectedBytes(services: readonly RunningService[]): Promise<number> {
  let sum = 0;
  for (const service of services) sum += await collectedBytesOf(service);
  return sum;
}

async function collectedBytesOf(service: RunningService): Promise<number> {
  const line = service.process.output.find((each) => each.startsWith("Debugger listening on "));
  const url = line?.split(" ").at(-1);
  if (url === undefined) throw new Error(`${service.name} was not started with --inspect`);
  const inspector = new WebSocket(url);
  await once(inspector, "open");
  try {
    // Twice: what finalizers let go of is collected by the second.
    await ask(inspector, { id: 1, method: "HeapProfiler.collectGarbage" });
    await ask(inspector, { id: 2, method: "HeapProfiler.collectGarbage" });
    const params = { expression: "process.memoryUsage().heapUsed + process.memoryUsage().external" };
    const answer = await ask(inspector, { id: 3, method: "Runtime.evaluate", params });
    const bytes = answer.result?.result?.value;
    if (typeof bytes !== "number") throw new Error(`no memory use of ${service.name}`);
    return bytes;
  } finally {
    inspector.terminate();
  }
}

interface InspectorAnswer {
  readonly id?: number;
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

async function ask(inspector: WebSocket, request: { id: number; method: string; params?: object }) {
  inspector.send(JSON.stringify(request));
  for (;;) {
    const [data] = (await once(inspector, "message", { signal: AbortSignal.timeout(20_000) })) as [Buffer];
    const answer = JSON.parse(data.toString()) as InspectorAnswer;
    if (answer.id === request.id) return answer;
  }
}
