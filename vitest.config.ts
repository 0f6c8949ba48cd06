/** Tests: `unit` needs nothing but Node; `stores` and `e2e` run on a real Redis and Kafka (see test/support). */
import { defineConfig } from "vitest/config";

export default defineConfig({
  ssr: { resolve: { conditions: ["development", "node", "import", "default"] } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["{proto,edge,fanout,services,test}/**/*.test.ts"],
          exclude: ["**/*-redis.test.ts", "**/*-kafka.test.ts", "test/e2e/**", "node_modules/**"],
        },
      },
    ],
  },
});
