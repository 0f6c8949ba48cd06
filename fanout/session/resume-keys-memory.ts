/** The key of resume tokens in this process: random, and as short-lived as the sessions that it keeps. */
import { randomBytes } from "node:crypto";
import { RESUME_KEY_BYTES, type ResumeKeys } from "./resume-keys.js";

export class MemoryResumeKeys implements ResumeKeys {
  readonly signing: Buffer = randomBytes(RESUME_KEY_BYTES);

  get accepted(): readonly Buffer[] {
    return [this.signing];
  }
}
