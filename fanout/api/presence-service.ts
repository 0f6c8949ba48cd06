/** `PresenceService`: who is online and who is in a channel, as backend services ask it. Nobody is asked who they are to know. */
import {
  PresenceServiceService,
  type CountOnlineRequest,
  type CountOnlineResponse,
  type GetPresenceRequest,
  type GetPresenceResponse,
  type ListMembersRequest,
  type ListMembersResponse,
} from "#proto/gen/realtime/api/v1/presence.js";
import { readMembersPage } from "#fanout/presence/members-page.js";
import { presenceUpdate } from "#fanout/presence/presence-channel.js";
import type { PresenceStore } from "#fanout/presence/presence-store.js";
import { apiMethod, type ApiMethod } from "./api-method.js";
import { checkBatch, FieldCheck } from "./field-check.js";

const MAX_USERS = 100;
const MAX_PAGE = 100;

export class PresenceService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(PresenceServiceService.getPresence, (request) => this.#get(request)),
    apiMethod(PresenceServiceService.listMembers, (request) => this.#list(request)),
    apiMethod(PresenceServiceService.countOnline, (request) => this.#count(request)),
  ];
  readonly #store: Pick<PresenceStore, "presences" | "members" | "countOnline">;

  constructor(options: { readonly presence: Pick<PresenceStore, "presences" | "members" | "countOnline"> }) {
    this.#store = options.presence;
  }

  async #get(request: GetPresenceRequest): Promise<GetPresenceResponse> {
    const check = new FieldCheck("");
    const app = check.app("app", request.app);
    checkBatch("user_ids", request.userIds, MAX_USERS);
    for (const [index, userId] of request.userIds.entries()) check.identifier(`user_ids[${index}]`, userId);
    const users = await this.#store.presences(app, request.userIds);
    return { users: users.map(presenceUpdate) };
  }

  async #list(request: ListMembersRequest): Promise<ListMembersResponse> {
    const check = new FieldCheck("");
    const { channel } = check.channel("channel", check.app("app", request.app), request.channel);
    check.range("page_size", request.pageSize, { from: 0, to: MAX_PAGE });
    const limit = request.pageSize === 0 ? MAX_PAGE : request.pageSize;
    return readMembersPage(this.#store, { channel, limit, pageToken: request.pageToken, check });
  }

  async #count(request: CountOnlineRequest): Promise<CountOnlineResponse> {
    return { users: await this.#store.countOnline(new FieldCheck("").app("app", request.app)) };
  }
}
