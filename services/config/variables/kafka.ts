/** The variables that say where Kafka is and what its topics are called. */
import { hostsAndPorts, listOf, oneOf, pemFile, text, trueOrFalse } from "../value-kind.js";
import { FANOUTS, optional, withDefault } from "../variable.js";

const topic = text("the name of a topic", /^[\w.-]{1,249}$/);
const eventType = text("the type of an event", /^[A-Za-z0-9_.-]{1,64}$/);

export const kafkaVariables = {
  brokers: optional("KAFKA_BROKERS", hostsAndPorts, {
    unset: "events stay in this process",
    usedBy: FANOUTS,
    about: "Some brokers of the cluster, `host:port,host:port`.",
  }),
  tls: withDefault("KAFKA_TLS", trueOrFalse, {
    default: "false",
    usedBy: FANOUTS,
    about: "Whether the brokers are reached over TLS.",
  }),
  tlsCa: optional("KAFKA_TLS_CA_FILE", pemFile, {
    unset: "the system's authorities",
    usedBy: FANOUTS,
    about: "The authority of the brokers' certificates, with KAFKA_TLS.",
  }),
  saslMechanism: optional("KAFKA_SASL_MECHANISM", oneOf("plain", "scram-sha-256", "scram-sha-512"), {
    unset: "no SASL",
    usedBy: FANOUTS,
    about: "How the gateway logs in, with the user name and password below.",
  }),
  saslUsername: optional("KAFKA_SASL_USERNAME", text(), {
    unset: "needed with KAFKA_SASL_MECHANISM",
    usedBy: FANOUTS,
    about: "The user name.",
  }),
  saslPassword: optional("KAFKA_SASL_PASSWORD", text(), {
    unset: "needed with KAFKA_SASL_MECHANISM",
    usedBy: FANOUTS,
    secret: true,
    about: "The password.",
  }),
  groupId: withDefault("KAFKA_GROUP_ID", text("the name of a group", /^[\w.-]{1,249}$/), {
    default: "realtime-gateway-group",
    usedBy: FANOUTS,
    about: "The consumer group that all fanouts share.",
  }),
  orderTopic: withDefault("KAFKA_ORDER_TOPIC", topic, {
    default: "order-events",
    usedBy: FANOUTS,
    about: "Orders: read.",
  }),
  porterTopic: withDefault("KAFKA_PORTER_TOPIC", topic, {
    default: "porter-events",
    usedBy: FANOUTS,
    about: "Porters: read, and sampled locations are written to it.",
  }),
  notificationTopic: withDefault("KAFKA_NOTIFICATION_TOPIC", topic, {
    default: "notification-events",
    usedBy: FANOUTS,
    about: "Notifications: read.",
  }),
  revocationTopic: withDefault("KAFKA_REVOCATION_TOPIC", topic, {
    default: "revocation-events",
    usedBy: FANOUTS,
    about: "Revoked tokens: written, and read whole by every fanout that consumes. Compacted.",
  }),
  outboxCustomTypes: optional(
    "OUTBOX_CUSTOM_TYPES",
    listOf(eventType, "a list of types of custom events, each 1 to 64 of A-Z a-z 0-9 _ . -"),
    {
      unset: "no custom event goes to Kafka",
      usedBy: FANOUTS,
      about: "The apps' own events (`custom`) that must reach Kafka too, by their type.",
    },
  ),
  customTopic: withDefault("KAFKA_CUSTOM_TOPIC", topic, {
    default: "custom-events",
    usedBy: FANOUTS,
    about: "The apps' own events of OUTBOX_CUSTOM_TYPES: written.",
  }),
};
