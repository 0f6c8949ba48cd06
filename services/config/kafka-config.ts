/** Resolves where Kafka is, or that events stay in the process. A login without brokers is a fault. */
import type { KafkaConnectionOptions } from "#fanout/event/kafka-connection.js";
import type { KafkaConfig, KafkaTopics } from "./config.js";
import type { EnvironmentReader } from "./environment-reader.js";
import type { Variable } from "./variable.js";
import { kafkaVariables } from "./variables/kafka.js";

const { brokers, tls, tlsCa, saslMechanism, saslUsername, saslPassword } = kafkaVariables;
const DETAILS: readonly Variable[] = [tlsCa, saslMechanism, saslUsername, saslPassword];

export function readKafka(reader: EnvironmentReader, clientId: string): KafkaConfig | undefined {
  const addresses = reader.get(brokers);
  const secured = { ...readTls(reader), ...readSasl(reader) };
  const groupId = reader.get(kafkaVariables.groupId);
  const topics = readTopics(reader);
  if (!reader.isSet(brokers)) {
    for (const detail of DETAILS.filter((variable) => reader.isChanged(variable))) {
      reader.fault(detail, `is set, but ${brokers.name} does not say which Kafka it is for`);
    }
  }
  if (addresses === undefined) return undefined;
  return {
    connection: {
      brokers: addresses.map(({ host, port }) =>
        host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
      ),
      clientId,
      ...secured,
    },
    groupId,
    topics,
  };
}

function readTls(reader: EnvironmentReader): Pick<KafkaConnectionOptions, "tls"> {
  const isOn = reader.get(tls);
  const ca = reader.get(tlsCa);
  if (!isOn) {
    if (reader.isSet(tlsCa)) reader.fault(tls, `must be true where ${tlsCa.name} is set`);
    return {};
  }
  return { tls: ca === undefined ? true : { ca } };
}

function readSasl(reader: EnvironmentReader): Pick<KafkaConnectionOptions, "sasl"> {
  const mechanism = reader.get(saslMechanism);
  const username = reader.get(saslUsername);
  const password = reader.get(saslPassword);
  const parts: readonly Variable[] = [saslMechanism, saslUsername, saslPassword];
  if (parts.some((variable) => reader.isSet(variable))) {
    for (const missing of parts.filter((variable) => !reader.isSet(variable))) {
      reader.fault(missing, `must be set: SASL needs ${parts.map(({ name }) => name).join(", ")}`);
    }
  }
  if (mechanism === undefined || username === undefined || password === undefined) return {};
  switch (mechanism) {
    case "plain":
      return { sasl: { mechanism, username, password } };
    case "scram-sha-256":
      return { sasl: { mechanism, username, password } };
    case "scram-sha-512":
      return { sasl: { mechanism, username, password } };
  }
}

function readTopics(reader: EnvironmentReader): KafkaTopics {
  return {
    orders: reader.get(kafkaVariables.orderTopic),
    porters: reader.get(kafkaVariables.porterTopic),
    notifications: reader.get(kafkaVariables.notificationTopic),
    revocations: reader.get(kafkaVariables.revocationTopic),
  };
}
