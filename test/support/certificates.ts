/**
 * Certificates for tests over TLS, made with openssl in a folder of the test: authorities, and what they
 * signed for this machine. Where openssl is missing it says so, and with CI set that is a failure.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** For `describe.skipIf(!canMakeCertificates())`. */
export function canMakeCertificates(): boolean {
  if (spawnSync("openssl", ["version"], { stdio: "ignore" }).status === 0) return true;
  const message = "openssl is not installed; what runs over TLS is not tested without it";
  if (process.env["CI"]) throw new Error(message);
  console.warn(message);
  return false;
}

/** Writes `<name>.key` and `<name>.crt`. */
export function makeAuthority(folder: string, name: string): void {
  const lifetime = ["-days", "2", "-subj", `/CN=${name}`];
  openssl(folder, ["req", "-x509", ...newKey(name), "-out", `${name}.crt`, ...lifetime]);
}

export interface CertificateOptions {
  readonly name: string;
  /** An earlier `makeAuthority`. */
  readonly authority: string;
  /** Whom it is good for; unless given, this machine. */
  readonly subjectAltName?: string;
}

/** Writes `<name>.key` and `<name>.crt`. */
export function makeCertificate(
  folder: string,
  { name, authority, subjectAltName = "DNS:localhost,IP:127.0.0.1" }: CertificateOptions,
): void {
  openssl(folder, ["req", ...newKey(name), "-out", `${name}.csr`, "-subj", `/CN=${name}`]);
  writeFileSync(join(folder, `${name}.ext`), `subjectAltName=${subjectAltName}\n`);
  const signing = ["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`, "-CAcreateserial"];
  const files = ["-in", `${name}.csr`, "-out", `${name}.crt`, "-extfile", `${name}.ext`];
  openssl(folder, ["x509", "-req", ...files, ...signing, "-days", "2"]);
}

function newKey(name: string): string[] {
  return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`];
}

function openssl(folder: string, args: readonly string[]): void {
  execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
}
