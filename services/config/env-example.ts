/**
 * Writes the text of `.env.example` out of the schema; a test holds the file against it. Run as a program
 * it prints the text: `npm run env-example` writes the file with it.
 */
import { pathToFileURL } from "node:url";
import { SECTIONS } from "./schema.js";
import { defaultOf, EVERY_PROCESS, type Variable } from "./variable.js";

const HEAD = [
  "# All variables of the gateway, each with its default. Copy this to .env and change what you need.",
  "# Empty means unset. In brackets: the processes that read it (gateway: edge and fanout in one, `npm start`).",
];

export function envExample(): string {
  const sections = SECTIONS.flatMap(({ title, variables }) => [
    "",
    `# ${"-".repeat(8)} ${title} ${"-".repeat(8)}`,
    ...variables.flatMap(linesOf),
  ]);
  return [...HEAD, ...sections, ""].join("\n");
}

function linesOf(variable: Variable): string[] {
  const secret = variable.isSecret ? " Secret." : "";
  const shared = defaultOf(variable);
  return [
    "",
    `# ${variable.about}${secret} [${variable.usedBy.join(", ")}]`,
    `# Must be ${variable.kind.expects}.`,
    ...(variable.defaultText === undefined ? [`# Unset: ${variable.unset}.`] : []),
    ...(variable.defaultText !== undefined && shared === undefined
      ? [
          `# Default: ${EVERY_PROCESS.map((process) => `${process} ${defaultOf(variable, process) ?? ""}`).join(", ")}.`,
        ]
      : []),
    `${variable.name}=${quoted(shared ?? "")}`,
  ];
}

/** `#` would start a comment. */
function quoted(value: string): string {
  return /[\s#"']/.test(value) ? JSON.stringify(value) : value;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(envExample());
}
