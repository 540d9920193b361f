// The threads beside the workers: what waits for an image, and what waits to be removed.
#include <catch2/catch.hpp>

#include <future>
#include <map>
#include <mutex>
#include <semaphore>
#include <string>
#include <vector>

#include "runner/pipeline/clearer.hpp"
#include "runner/pipeline/preparer.hpp"

using runner::pipeline::Clearer;
using runner::pipeline::Preparer;

TEST_CASE("what could not be cleared away is tried again, and holds up nothing else") {
  std::mutex mutex;
  std::map<std::string, int> attempts;
  std::promise<void> hard_done;
  std::promise<void> easy_done;
  Clearer clearer(
      [&](const std::string& id) {
        const std::lock_guard lock(mutex);
        const int attempt = ++attempts[id];
        if (id == "easy") easy_done.set_value();
        if (id == "hard" && attempt == 3) hard_done.set_value();
        return id == "easy" || attempt == 3;
      },
      "clear", std::chrono::milliseconds(1));
  clearer.enqueue("hard");
  clearer.enqueue("easy");
  constexpr std::chrono::seconds kPatience{30};
  REQUIRE(easy_done.get_future().wait_for(kPatience) == std::future_status::ready);
  REQUIRE(hard_done.get_future().wait_for(kPatience) == std::future_status::ready);
  clearer.stop();
  clearer.enqueue("late");  // harmless
  CHECK(attempts == std::map<std::string, int>{{"easy", 1}, {"hard", 3}});
}

TEST_CASE("a clearer that waits for its next attempt stops at once, and takes up what is new meanwhile") {
  std::promise<void> tried;
  std::promise<void> other;
  Clearer clearer(
      [&](const std::string& id) {
        if (id == "other") other.set_value();
        if (id == "never") tried.set_value();
        return id == "other";
      },
      "clear", std::chrono::hours(1));
  clearer.enqueue("never");
  REQUIRE(tried.get_future().wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  clearer.enqueue("other");
  REQUIRE(other.get_future().wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  clearer.stop();
}

TEST_CASE("runs are prepared one at a time in their order, and one that waits can be withdrawn") {
  std::binary_semaphore entered{0};
  std::binary_semaphore go{0};
  std::vector<std::string> prepared;
  Preparer preparer([&](const std::string& id, const std::stop_token&) {
    prepared.push_back(id);  // this thread only, until it is joined
    entered.release();
    go.acquire();
  });
  preparer.enqueue("first");
  entered.acquire();
  preparer.enqueue("second");
  preparer.enqueue("third");
  CHECK_FALSE(preparer.withdraw("first"));  // it is at work
  CHECK(preparer.withdraw("second"));
  CHECK_FALSE(preparer.withdraw("second"));
  go.release();
  entered.acquire();
  go.release();
  preparer.stop();
  preparer.enqueue("late");  // harmless
  CHECK(prepared == std::vector<std::string>{"first", "third"});
}

TEST_CASE("a preparer that stops tells the one at work") {
  std::binary_semaphore entered{0};
  bool asked = false;
  Preparer preparer([&](const std::string&, const std::stop_token& stop) {
    entered.release();
    while (!stop.stop_requested()) std::this_thread::yield();
    asked = true;
  });
  preparer.enqueue("long");
  entered.acquire();
  preparer.stop();
  CHECK(asked);
}
