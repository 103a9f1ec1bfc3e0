import { defineConfig } from 'vitest/config'

/** Integration and e2e tests mostly wait: for deadlines, restarts, unpacking at low priority. Two files at a time keep two cores busy. */
const engines = {
  maxWorkers: 2,
  globalSetup: ['test/helpers/global-setup.ts'],
  hookTimeout: 300_000,
}

// Three suites, one runner. Unit tests touch no engine; integration and e2e use the real runc, Docker Engine and registry.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts', 'test/*.test.ts'] } },
      {
        test: {
          ...engines,
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
        },
      },
      {
        test: {
          ...engines,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          sequence: { groupOrder: 2 },
          testTimeout: 120_000,
        },
      },
    ],
  },
})
