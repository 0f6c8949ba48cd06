/** Whether an address is reached from this machine only: there, and nowhere else, a port may be open. */
const LOOPBACK = /^(localhost|::1|\[::1\]|127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/i;

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}
