import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { signToken } from "#services/token/sign-token.js";
import { startService, type RunningService } from "#test/support/process.js";
import { waitFor } from "#test/support/wait-for.js";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const SECRET = "the-secret-of-the-readme-test-0123456789";

let gateway: RunningService;

beforeAll(async () => {
  gateway = await startService("gateway", { env: { HOST: "127.0.0.1", JWT_SOCKET_SECRET: SECRET } });
});

afterAll(async () => {
  await gateway.kill();
});

const token = (sub: string, role: string): Promise<string> =>
  signToken({ sub, role, ttlSeconds: 600 }, { ...DEFAULT_JWT_OPTIONS, secret: SECRET });

/** The README's program that holds this word, with the ports of the running gateway. */
function program(word: string): string {
  const readme = readFileSync(`${CHECKOUT}/README.md`, "utf8");
  const blocks = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, code = ""]) => code);
  const code = blocks.find((block) => block.includes(word));
  if (code === undefined) throw new Error(`the README has no program with ${word}`);
  return code
    .replace("localhost:3002", `127.0.0.1:${gateway.port("PORT")}`)
    .replace("localhost:50051", `127.0.0.1:${gateway.port("API_PORT")}`);
}

function run(code: string, ...args: string[]) {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", code, "--", ...args], {
    cwd: CHECKOUT,
  });
  const output = { text: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.text += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output.text += chunk.toString()));
  return { child, output };
}

it("the README's app hears what the README's backend service lets it hear, and publishes", async () => {
  const service = run(program("PublishService"));
  await waitFor(() => service.child.exitCode !== null, { what: "the service's end", timeoutMs: 15_000 });
  expect(service.output.text).toContain("PUBLISH_OUTCOME_PUBLISHED");
  const code = program("new WebSocket").replace("process.argv[2]", "process.argv.at(-1)");
  const app = run(code, await token("demo-customer", "customer"));
  try {
    const heard = () => app.output.text.includes("the order is picked_up");
    await waitFor(heard, { what: "the status", timeoutMs: 15_000 });
    const stranger = run(code, await token("stranger", "customer"));
    const refused = () => stranger.output.text.includes("order:42 is not yours to follow");
    await waitFor(refused, { what: "the refusal", timeoutMs: 15_000 });
    stranger.child.kill();
  } finally {
    app.child.kill();
  }
});
