/**
 * A restaurant or shop as one who takes part: under a name that no user can have, because ids have no colon.
 * Who belongs to it is said by their token (`policy/relations.ts`), never by the directory.
 */
import { isIdentifier } from "#fanout/channel/channel.js";

const PREFIX = "merchant:";

export function merchantParty(merchantId: string): string {
  return `${PREFIX}${merchantId}`;
}

export function isMerchantParty(name: string): boolean {
  return name.startsWith(PREFIX) && isIdentifier(name.slice(PREFIX.length));
}
