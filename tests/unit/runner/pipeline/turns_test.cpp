#include "runner/pipeline/turns.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using runner::pipeline::Turns;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

TEST_CASE("one turn at a time for a run, and each run has its own") {
  Turns turns;
  auto first = turns.take("a");
  REQUIRE(first);
  CHECK_FALSE(turns.take("a", 1ms));
  CHECK(turns.take("b", 1ms));
  CHECK(first.finish());
  CHECK(turns.take("a", 1ms));
}

TEST_CASE("who cannot wait leaves the work to whoever has the turn, who is told") {
  Turns turns;
  auto first = turns.take("a");
  CHECK_FALSE(turns.take_or_leave("a"));
  CHECK_FALSE(first.finish());
  CHECK_FALSE(first);
  auto second = turns.take_or_leave("a");  // the turn was given back all the same
  REQUIRE(second);
  CHECK(second.finish());
}

TEST_CASE("a turn ends with its object, and who waits for it gets it") {
  Turns turns;
  std::atomic<int> inside{0}, most{0}, done{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        const auto turn = turns.take("a", 30s);
        if (!turn) return;
        const int now = ++inside;
        if (now > most) most = now;
        ++done;
        --inside;
      }
    });
  threads.clear();
  CHECK(most == 1);
  CHECK(done == 400);
}
