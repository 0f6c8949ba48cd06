/**
 * Where records go that can never be read: `<topic>.dlq`, as they came, with headers that say why and
 * from where. The reason quotes nothing of the record.
 */
export const DEAD_LETTER_HEADERS = {
  reason: "dlq-reason",
  topic: "dlq-source-topic",
  partition: "dlq-source-partition",
  offset: "dlq-source-offset",
} as const;

export function deadLetterTopic(topic: string): string {
  return `${topic}.dlq`;
}

export function deadLetterHeaders(
  origin: { topic: string; partition: number; offset: number },
  reason: string,
): Readonly<Record<string, string>> {
  return {
    [DEAD_LETTER_HEADERS.reason]: reason,
    [DEAD_LETTER_HEADERS.topic]: origin.topic,
    [DEAD_LETTER_HEADERS.partition]: String(origin.partition),
    [DEAD_LETTER_HEADERS.offset]: String(origin.offset),
  };
}
