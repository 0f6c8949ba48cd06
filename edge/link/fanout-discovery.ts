/**
 * Where the fanouts are: a fixed list, or the addresses behind a DNS name (a headless service), looked up
 * again at an interval. A failing look-up keeps the addresses known before.
 */
import { lookup } from "node:dns/promises";

export interface FanoutDiscovery {
  /** Tells the addresses (`host:port`) now and after each change. */
  start(onAddresses: (addresses: readonly string[]) => void): void;
  stop(): void;
}

/** Reads `host:port,host:port` or `dns:///name:port`. */
export function fanoutDiscovery(
  addresses: string,
  options: { intervalMs?: number; onError?: (error: unknown) => void } = {},
): FanoutDiscovery {
  const dns = /^dns:\/\/\/(.+):(\d+)$/.exec(addresses.trim());
  if (dns?.[1] !== undefined && dns[2] !== undefined) {
    return new DnsDiscovery(dns[1], Number(dns[2]), options);
  }
  const list = addresses.split(",").map((address) => address.trim());
  return new StaticDiscovery(list.filter((address) => address !== ""));
}

class StaticDiscovery implements FanoutDiscovery {
  constructor(private readonly addresses: readonly string[]) {}

  start(onAddresses: (addresses: readonly string[]) => void): void {
    onAddresses(this.addresses);
  }

  stop(): void {}
}

export type Resolve = (name: string) => Promise<readonly { address: string; family: number }[]>;

const resolveAll: Resolve = (name) => lookup(name, { all: true });

export class DnsDiscovery implements FanoutDiscovery {
  #timer: NodeJS.Timeout | undefined;
  #known = "";
  #isStopped = false;

  constructor(
    private readonly name: string,
    private readonly port: number,
    private readonly options: {
      intervalMs?: number;
      onError?: (error: unknown) => void;
      resolve?: Resolve;
    } = {},
  ) {}

  start(onAddresses: (addresses: readonly string[]) => void): void {
    void this.#lookUp(onAddresses);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #lookUp(onAddresses: (addresses: readonly string[]) => void): Promise<void> {
    try {
      const found = await (this.options.resolve ?? resolveAll)(this.name);
      const addresses = found.map(({ address, family }) =>
        family === 6 ? `[${address}]:${this.port}` : `${address}:${this.port}`,
      );
      const sorted = [...new Set(addresses)].sort();
      if (!this.#isStopped && sorted.length > 0 && sorted.join() !== this.#known) {
        this.#known = sorted.join();
        onAddresses(sorted);
      }
    } catch (error) {
      this.options.onError?.(error);
    }
    if (!this.#isStopped) {
      this.#timer = setTimeout(() => void this.#lookUp(onAddresses), this.options.intervalMs ?? 2000);
      this.#timer.unref();
    }
  }
}
