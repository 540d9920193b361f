#include "runner/pipeline/line_difference.hpp"

#include <catch2/catch.hpp>

using runner::pipeline::line_difference;
using Lines = std::vector<std::string>;

TEST_CASE("equal texts have no difference") {
  CHECK(line_difference("", "").empty());
  CHECK(line_difference("a\nb\n", "a\nb\n").empty());
}

TEST_CASE("what changed is told in the texts' order, and nothing else") {
  CHECK(line_difference("a\nb\nc\n", "a\nx\nc\n") == Lines{"- b", "+ x"});
  CHECK(line_difference("a\nc\n", "a\nb\nc\nd\n") == Lines{"+ b", "+ d"});
  CHECK(line_difference("", "a\n") == Lines{"+ a"});
  CHECK(line_difference("a\n", "") == Lines{"- a"});
}

TEST_CASE("a line that moved is a difference: the order of channels has a meaning") {
  CHECK(line_difference("channels: a\nchannels: b\n", "channels: b\nchannels: a\n") ==
        Lines{"- channels: a", "+ channels: a"});
}

TEST_CASE("texts too long for the table are still told whole, apart from what begins and ends them alike") {
  std::string before = "same\n";
  std::string after = "same\n";
  for (int i = 0; i < 3000; ++i) {
    before += "b" + std::to_string(i) + "\n";
    after += "a" + std::to_string(i) + "\n";
  }
  const Lines found = line_difference(before + "end\n", after + "end\n");
  CHECK(found.size() == 6000);
  CHECK(found.front() == "- b0");
  CHECK(found.back() == "+ a2999");
}
