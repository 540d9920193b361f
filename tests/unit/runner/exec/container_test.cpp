#include <catch2/catch.hpp>

#include "container_fixture.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"

namespace runner::exec::test {

TEST_CASE("a run ends with its script's exit code and its log") {
  ContainerFixture fixture;
  INFO(fixture.sandbox().checks().front().detail);
  REQUIRE(fixture.sandbox().runtime());
  const SandboxRun run = fixture.shell("t-exit", "echo one; echo two >&2; exit 7");
  const Finished finished = fixture.finish(run);
  INFO(finished.outcome.message);
  CHECK(finished.outcome.kind == OutcomeKind::kExited);
  CHECK(finished.outcome.exit_code == 7);
  CHECK(finished.log == "one\ntwo\n");
}

}  // namespace runner::exec::test
