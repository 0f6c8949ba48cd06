/** `npm run token -- --sub u1 --role customer`: prints a token; what it does is in `token-command.ts`. */
import { readEnvironment } from "#services/config/environment.js";
import { runTokenCommand } from "./token-command.js";

const { exitCode, output, errors } = await runTokenCommand(process.argv.slice(2), readEnvironment());
process.stdout.write(output);
process.stderr.write(errors);
process.exitCode = exitCode;
