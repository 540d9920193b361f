#include "runner/pipeline/post_mortem.hpp"

#include <catch2/catch.hpp>

namespace runner::pipeline {
namespace {

using Catch::Contains;

PostMortem crashed() {
  PostMortem facts{.run = "exp_1_abcdef01",
                   .command = "train.py",
                   .started = UtcTime{std::chrono::seconds{1000}},
                   .ended = UtcTime{std::chrono::seconds{1100}},
                   .outcome = {.kind = OutcomeKind::kSignaled, .signal = 11, .message = "died of SIGSEGV"},
                   .look = shim::LastLook{.time = UtcTime{std::chrono::milliseconds{1'099'500}}, .process_count = 1},
                   .usage = {},
                   .log_end = "hello\n",
                   .whole_log = true};
  facts.look->processes.push_back(
      {.pid = 2, .parent = 1, .state = 'R', .memory_bytes = 1 << 20, .cpu_seconds = 1.5, .command = "python train.py"});
  return facts;
}

}  // namespace

TEST_CASE("a line of foreign text cannot act on who reads it") {
  CHECK(shown_line("plain ü text", 100) == "plain ü text");
  CHECK(shown_line("\x1b[2J", 100) == "\\x1b[2J");
  CHECK(shown_line("a\tb", 100) == "a    b");
  CHECK(shown_line(std::string_view("a\0b", 3), 100) == "a\\x00b");
  CHECK(shown_line("\xff\xc0\x80", 100) == "\\xff\\xc0\\x80");
  CHECK(shown_line("\u202Egnp", 100) == "\\u202egnp");
  CHECK(shown_line("\u0085", 100) == "\\u0085");
  CHECK(shown_line("10%\r50%\r99%", 100) == "99%");
  CHECK(shown_line("dos\r", 100) == "dos");
  const std::string cut = shown_line(std::string(1000, 'x'), 50);
  CHECK(cut.size() < 60);
  CHECK(cut.ends_with("…"));
  for (std::size_t most = 1; most < 40; ++most)  // never in the middle of a character
    CHECK_THAT(shown_line("üüüüüüüüüü", most), !Contains("\\x"));
}

TEST_CASE("stacks of Python are told from the other lines of a log") {
  std::vector<std::string_view> rest;
  const auto stacks = stack_lines(
      "before\n"
      "Fatal Python error: Aborted\n\n"
      "Thread 0x00007f0000000001 (most recent call first):\n  File \"a.py\", line 3 in f\n  ...\n\n"
      "Current thread 0x00007f0000000000 (most recent call first):\n  <no Python frame>\n\n"
      "Extension modules: numpy (total: 1)\n"
      "after\n  File \"b.py\", line 9, in g\n",
      rest);
  REQUIRE(stacks.size() == 10);
  CHECK(stacks[3] == "  File \"a.py\", line 3 in f");
  CHECK(stacks.back() == "Extension modules: numpy (total: 1)");
  CHECK(rest == std::vector<std::string_view>{"before", "after", "  File \"b.py\", line 9, in g"});  // of a traceback
}

TEST_CASE("the page says how it ended, what lived, what it used and what it wrote") {
  PostMortem facts = crashed();
  for (int i = 0; i < 200; ++i)
    facts.look->samples.push_back({.time = UtcTime{std::chrono::seconds{900 + i}},
                                   .seconds = 1,
                                   .cpu_seconds = 0,
                                   .cpus = i == 199 ? 2.0 : 1.0,
                                   .memory_bytes = i << 20,
                                   .processes = 1});
  const std::string page = to_text(facts);
  CHECK_THAT(page, Contains("exp_1_abcdef01, which ended as signaled") && Contains("died of SIGSEGV") &&
                       Contains("after 1m 40s"));
  CHECK_THAT(page, Contains("Processes, 0.5 s before the end") &&
                       Contains("        2       1  R     1.0 MiB     1.50s  python train.py"));
  CHECK_THAT(page, Contains("at most 2.00 CPUs, 2.00 at last") && Contains("at most 199.0 MiB"));
  std::size_t columns = 0;
  for (auto at = page.find("▄"); at != std::string::npos; at = page.find("▄", at + 1)) ++columns;
  CHECK(columns == 0);  // half of the highest is the fifth bar
  for (auto at = page.find("▅"); at != std::string::npos; at = page.find("▅", at + 1)) ++columns;
  CHECK(columns == 59);  // the last minute, not all two hundred
  CHECK_THAT(page, Contains("The log\n  hello\n"));
}

TEST_CASE("the page stays a page, however much there was") {
  PostMortem facts = crashed();
  facts.log_end.clear();
  for (int i = 0; i < 3000; ++i) facts.log_end += "line " + std::to_string(i) + std::string(500, 'y') + "\n";
  facts.log_end += "Fatal Python error: Aborted\n";
  for (int i = 0; i < 3000; ++i) facts.log_end += "  File \"a.py\", line 1 in f\n";
  facts.whole_log = false;
  facts.look->process_count = 100'000;
  facts.look->complete = false;
  const std::string page = to_text(facts);
  CHECK(page.size() < 32'000);
  CHECK_THAT(page, Contains("The last 30 lines of the log") && Contains("line 2999") && !Contains("line 2969"));
  CHECK_THAT(page, Contains("and 2801 lines more") && Contains("and at least 99999 more"));
}

TEST_CASE("without a look the page says what is not known and why") {
  PostMortem facts = crashed();
  facts.look.reset();
  CHECK_THAT(to_text(facts), Contains("none seen: it ran for less than a second"));
  facts.outcome.kind = OutcomeKind::kLost;
  facts.usage.push_back(
      {.time = facts.ended, .seconds = 1, .cpu_seconds = 1, .cpus = 1, .memory_bytes = 5 << 20, .processes = 1});
  CHECK_THAT(to_text(facts), Contains("the supervisor, which would know, was killed") && Contains("at most 5.0 MiB"));
}

TEST_CASE("only an ending that asks for an explanation has a page") {
  for (const auto kind : {OutcomeKind::kSignaled, OutcomeKind::kTimedOut, OutcomeKind::kOutOfMemory,
                          OutcomeKind::kKilled, OutcomeKind::kLost})
    CHECK(wants_post_mortem(kind));
  for (const auto kind : {OutcomeKind::kExited, OutcomeKind::kCanceled, OutcomeKind::kHostRebooted,
                          OutcomeKind::kEnvironmentFailed, OutcomeKind::kStartFailed})
    CHECK_FALSE(wants_post_mortem(kind));
}

}  // namespace runner::pipeline
