/** Names the failed tests once more behind everything else, where logs that keep their end alone still show them. */
import type { Reporter, TestCase, TestModule } from "vitest/node";

export default class FailedTests implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>) {
    for (const module of modules) {
      for (const error of module.errors()) tell(`${module.relativeModuleId}: ${error.message}`);
      for (const test of module.children.allTests("failed")) tell(described(test));
    }
  }
}

function tell(failure: string) {
  process.stderr.write(`FAILED ${failure}\n`);
}

function described(test: TestCase): string {
  const message = test.result().errors?.[0]?.message ?? "";
  return `${test.module.relativeModuleId} > ${test.fullName}: ${message.split("\n")[0]}`;
}
