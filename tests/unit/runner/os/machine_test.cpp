#include "runner/os/machine.hpp"

#include <sys/utsname.h>

#include <catch2/catch.hpp>

using namespace runner;

TEST_CASE("the facts of this machine are the kernel's own words") {
  const MachineFacts facts = os::machine_facts();
  struct ::utsname names {};
  REQUIRE(::uname(&names) == 0);
  CHECK(facts.hostname == names.nodename);
  CHECK(facts.kernel == names.release);
  CHECK(facts.architecture == names.machine);
  CHECK(facts.cpus == os::usable_cpus());
  CHECK(facts.memory_bytes == os::physical_memory());
  for (const std::string* text : {&facts.system, &facts.processor, &facts.gpu_driver}) {
    CHECK(text->find('\n') == std::string::npos);
    CHECK(text->find('"') == std::string::npos);
  }
  CHECK(facts == os::machine_facts());
}
