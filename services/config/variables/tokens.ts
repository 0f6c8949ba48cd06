/** The variables that say which tokens are believed and how they are read. */
import { duration, listOf, orZero, secret, text, trueOrFalse, url } from "../value-kind.js";
import { EDGES, EVERY_PROCESS, optional, withDefault } from "../variable.js";

/** RFC 7518, 3.2: at least the size of the hash. */
const signingSecret = secret({ minBytes: 32 });
const claimName = text("the name of a claim", /^[^\s\0]{1,128}$/);

export const tokenVariables = {
  socketSecret: optional("JWT_SOCKET_SECRET", signingSecret, {
    unset: "JWT_SECRET; `npm start` makes a random one outside production",
    usedBy: EDGES,
    secret: true,
    about: "Checks the HS256 tokens that are made for sockets; `npm run token` signs with it.",
  }),
  sharedSecret: optional("JWT_SECRET", signingSecret, {
    unset: "only JWT_SOCKET_SECRET counts",
    usedBy: EDGES,
    secret: true,
    about: "The same as JWT_SOCKET_SECRET, where that is unset.",
  }),
  accessSecret: optional("JWT_ACCESS_SECRET", signingSecret, {
    unset: "access tokens are not accepted",
    usedBy: EDGES,
    secret: true,
    about: "Checks HS256 access tokens, which are accepted beside socket tokens.",
  }),
  jwksUrl: optional("JWT_JWKS_URL", url("https", "http"), {
    unset: "only HS256 tokens are accepted",
    usedBy: EDGES,
    about: "The public keys of a provider, for RS256, ES256 and EdDSA tokens.",
  }),
  issuer: optional("JWT_ISSUER", text(), {
    unset: "not checked",
    usedBy: EDGES,
    about: "What a token's `iss` must be.",
  }),
  audience: optional("JWT_AUDIENCE", text(), {
    unset: "not checked",
    usedBy: EDGES,
    about: "What a token's `aud` must hold.",
  }),
  clockToleranceMs: withDefault("JWT_CLOCK_TOLERANCE", duration({ min: "0s", max: "5m" }), {
    default: "5s",
    usedBy: EDGES,
    about: "How far the issuer's clock may be off.",
  }),
  userClaim: withDefault("JWT_USER_CLAIM", claimName, {
    default: "sub",
    usedBy: EDGES,
    about: "The claim that holds the user's id.",
  }),
  roleClaim: withDefault("JWT_ROLE_CLAIM", claimName, {
    default: "role",
    usedBy: EDGES,
    about: "The claim that holds the role; a token without it is a plain `user`.",
  }),
  appClaim: withDefault("JWT_APP_CLAIM", claimName, {
    default: "app",
    usedBy: EDGES,
    about: "The claim that holds the app; a token without it is of DEFAULT_APP.",
  }),
  merchantClaim: withDefault("JWT_MERCHANT_CLAIM", claimName, {
    default: "restaurant",
    usedBy: EVERY_PROCESS,
    about: "The claim of a merchant's token with their restaurant or shop: its orders are theirs.",
  }),
  passedClaims: optional("JWT_PASSED_CLAIMS", listOf(claimName, "a list of names of claims"), {
    unset: "none",
    usedBy: EDGES,
    about: "Claims that go on to the fanout as they are.",
  }),
  defaultApp: withDefault("DEFAULT_APP", text("1 to 64 letters, digits or _ . -", /^[\w.-]{1,64}$/), {
    default: "default",
    usedBy: EDGES,
    about: "The app of tokens that name none.",
  }),
  maxTokenLifetimeMs: withDefault("MAX_TOKEN_LIFETIME", duration({ min: "1s", max: "400d" }), {
    default: "24h",
    usedBy: EVERY_PROCESS,
    about: "Tokens that live longer, or for ever, are refused: so long revocations are kept.",
  }),
  tokenExpiryWarningMs: withDefault("TOKEN_EXPIRY_WARNING", orZero(duration({ min: "1s", max: "1d" })), {
    default: "5m",
    usedBy: EDGES,
    about: "So long before its token ends a socket gets `token_expiring`. 0: not at all.",
  }),
  allowAnonymous: withDefault("ALLOW_ANONYMOUS", trueOrFalse, {
    default: "false",
    usedBy: EDGES,
    about: "Whether clients without a token may come in, to DEFAULT_APP and for public channels only.",
  }),
  trustUserType: withDefault("TRUST_USER_TYPE", trueOrFalse, {
    default: "false",
    usedBy: EDGES,
    about: "Whether a token without a role takes the one that its client names (`userType`); never `admin`.",
  }),
};
