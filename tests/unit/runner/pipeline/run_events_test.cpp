#include <catch2/catch.hpp>

#include <poll.h>

#include "runner/pipeline/run_events.hpp"

namespace {

bool readable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 1;
}

}  // namespace

TEST_CASE("a subscription wakes for its own run only, until it is cleared") {
  runner::pipeline::RunEvents events;
  const auto a = events.subscribe("a");
  const auto another_a = events.subscribe("a");
  const auto b = events.subscribe("b");
  events.notify("a");
  CHECK(readable(a.fd()));
  CHECK(readable(another_a.fd()));
  CHECK_FALSE(readable(b.fd()));
  a.clear();
  CHECK_FALSE(readable(a.fd()));
  a.clear();  // nothing happened: must not block
  CHECK_FALSE(readable(a.fd()));
}

TEST_CASE("a subscription may outlive the events and be dropped in any order") {
  auto events = std::make_unique<runner::pipeline::RunEvents>();
  auto first = std::make_unique<runner::pipeline::RunEvents::Subscription>(events->subscribe("a"));
  auto second = events->subscribe("a");
  first.reset();
  events->notify("a");
  CHECK(readable(second.fd()));
  events.reset();
}
