/**
 * What an edge can say of the whole: its own sockets, and what the fanouts tell in their status (an edge
 * has no store and no bus to ask).
 */
import type { EdgeLink } from "./link/edge-link.js";

export interface DependencyHealth {
  readonly isUp: boolean;
  readonly reconnectAttempts: number;
  readonly implementation: string;
}

export class EdgeHealth {
  constructor(
    private readonly options: {
      readonly links: () => Iterable<EdgeLink>;
      readonly connections: () => number;
      readonly isDraining: () => boolean;
    },
  ) {}

  get connections(): number {
    return this.options.connections();
  }

  /** Users that live on any fanout; a user counts once, as they have one home. */
  get onlineUsers(): number {
    return this.#links().reduce((sum, link) => sum + (link.status?.onlineUsers ?? 0), 0);
  }

  /** Whether any fanout takes new sessions now. */
  get acceptsSessions(): boolean {
    return this.#links().some((link) => link.status?.accepting !== false);
  }

  get isDraining(): boolean {
    return this.options.isDraining();
  }

  /** Channels that sockets of this edge follow, each once for each fanout. */
  get groups(): number {
    return this.#links().reduce((sum, link) => sum + link.groupCount, 0);
  }

  get readyLinks(): number {
    return this.#links().length;
  }

  /** "redis" or "kafka", as the fanouts see it; undefined before any said so. */
  dependency(name: string): DependencyHealth | undefined {
    const seen = this.#links().flatMap(
      (link) => link.status?.dependencies.filter((each) => each.name === name) ?? [],
    );
    const [first] = seen;
    if (first === undefined) return undefined;
    return {
      isUp: seen.every((each) => each.up),
      reconnectAttempts: Math.max(...seen.map((each) => each.reconnectAttempts)),
      implementation: first.implementation,
    };
  }

  #links(): EdgeLink[] {
    return [...this.options.links()].filter((link) => link.phase === "ready" || link.phase === "draining");
  }
}
