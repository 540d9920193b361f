#include "runner/engine/build_answer.hpp"

#include <catch2/catch.hpp>

namespace runner::engine {
namespace {

struct Heard {
  std::vector<std::string> lines;
  std::vector<BuildStep> steps;
  std::vector<std::string> progress;
  BuildListener listener{.on_line = [this](std::string_view line) { lines.emplace_back(line); },
                         .on_step = [this](const BuildStep& step) { steps.push_back(step); },
                         .on_progress = [this](const std::string& line) { progress.push_back(line); }};
};

// As Docker 20.10 says it.
constexpr const char* kBuilt = R"({"stream":"Step 1/2 : FROM x"}
{"stream":"\n"}
{"status":"Pulling from library/x","id":"latest"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a1"}
{"status":"Pull complete","progressDetail":{},"id":"a1"}
{"stream":" ---\u003e fa5ab9386502\n"}
{"stream":"Step 2/2 : RUN echo a; echo b"}
{"stream":"\n"}
{"stream":"a\nb\r\n"}
{"aux":{"ID":"sha256:1c1103be29583a9f0e7f4a3e1b2c977dee225c5b35ee5703cd737658d5e33bab"}}
{"stream":"Successfully built 1c1103be2958\n"}
)";

}  // namespace

TEST_CASE("a build is told as steps, lines and pulls, however its stream is cut") {
  const std::size_t size = GENERATE(std::size_t{1}, std::size_t{7}, std::size_t{4096});
  Heard heard;
  BuildAnswer answer(heard.listener);
  for (std::string_view rest = kBuilt; !rest.empty(); rest.remove_prefix(std::min(size, rest.size())))
    answer.feed(rest.substr(0, size));
  answer.end();
  CHECK(heard.steps == std::vector<BuildStep>{{0, 1, 2, "FROM x"}, {0, 2, 2, "RUN echo a; echo b"}});
  CHECK(heard.lines == std::vector<std::string>{" ---> fa5ab9386502", "a", "b", "", "Successfully built 1c1103be2958"});
  CHECK(heard.progress.back() == "1 of 1 layers");
  CHECK(answer.image() == "sha256:1c1103be29583a9f0e7f4a3e1b2c977dee225c5b35ee5703cd737658d5e33bab");
  CHECK(answer.error().empty());
}

TEST_CASE("a step that fails leaves its words, its status and which one it was") {
  Heard heard;
  BuildAnswer answer(heard.listener);
  answer.feed(
      "{\"stream\":\"Step 3/5 : RUN false\"}\n{\"stream\":\"\\n\"}\n{\"stream\":\"last words\"}\n"
      "{\"errorDetail\":{\"code\":7,\"message\":\"returned a non-zero code: 7\"},\"error\":\"short\"}\n");
  CHECK(answer.error() == "returned a non-zero code: 7");
  CHECK(answer.exit_status() == 7);
  REQUIRE(answer.step());
  CHECK(answer.step()->number == 3);
  CHECK(heard.lines.back() == "last words");
}

TEST_CASE("steps of both builders are known, and nothing else is a step") {
  CHECK(parse_build_step("Step 3/5 : RUN make") == BuildStep{0, 3, 5, "RUN make"});
  CHECK(parse_build_step("STEP 3/5: RUN make") == BuildStep{0, 3, 5, "RUN make"});
  CHECK(parse_build_step("[2/2] STEP 1/3: FROM x AS y") == BuildStep{2, 1, 3, "FROM x AS y"});
  for (const char* line : {"Step 3 of 5", "Step /5 : x", "step 3/5 : x", "[2/2] x", "[", "Step 3/5",
                           "Step 99999999999/1 : x", "Step 0/5 : x", "Step 7/3 : x", "[1/2] STEP 4/3: x"})
    CHECK_FALSE(parse_build_step(line));
}

TEST_CASE("an image may be told by the beginning of its digits only") {
  Heard heard;
  BuildAnswer answer(heard.listener);
  answer.feed("{\"stream\":\"Successfully built 1c1103be2958\"}\n");
  CHECK(answer.image().empty());  // the line may go on
  answer.end();
  CHECK(answer.image() == "1c1103be2958");
  BuildAnswer other(heard.listener);
  other.feed("{\"stream\":\"Successfully built anything\\n\"}\n");
  CHECK(other.image().empty());
}

TEST_CASE("what a command says is no step and no image of the builder") {
  Heard heard;
  BuildAnswer answer(heard.listener);
  const auto say = [&](const std::string& line) { answer.feed("{\"stream\":\"" + line + "\\n\"}\n"); };
  say("Step 1/3 : FROM x");
  say("Step 2/3 : RUN make");
  for (const char* forged : {"Step 9/3 : RUN forged", "Step 2/3 : RUN forged", "Step 3/4 : RUN forged",
                             "Step 1/3 : RUN forged", "[1/2] STEP 4/9: RUN forged", "Successfully built deadbeef1234"})
    say(forged);
  CHECK(heard.lines.size() == 6);
  say("Step 3/3 : CMD x");
  CHECK(heard.steps.size() == 3);
  CHECK(answer.step()->text == "CMD x");
  say("Successfully built 1c1103be2958");
  CHECK(answer.image() == "1c1103be2958");
}

TEST_CASE("a stage may begin to count again") {
  Heard heard;
  BuildAnswer answer(heard.listener);
  for (const char* line : {"[1/3] STEP 1/2: FROM x AS y", "[1/3] STEP 2/2: RUN a", "[3/3] STEP 1/9: FROM y"})
    answer.feed("{\"stream\":\"" + std::string(line) + "\\n\"}\n");
  CHECK(heard.steps.size() == 3);
  CHECK(heard.lines.empty());
}

TEST_CASE("hostile streams are no builds") {
  Heard heard;
  BuildAnswer answer(heard.listener);
  answer.feed(
      "[]\n7\n{\"stream\":7}\n{\"aux\":[]}\n{\"aux\":{\"ID\":7}}\n{\"error\":\"x\",\"errorDetail\":7}\nnonsense\n");
  answer.feed(std::string(3 << 20, 'x'));
  answer.feed("\n{\"stream\":\"" + std::string(200'000, 'y') + "\\n\"}\n");
  CHECK(answer.image().empty());
  CHECK(answer.error() == "x");
  CHECK_FALSE(answer.exit_status());
  for (const std::string& line : heard.lines) CHECK(line.size() <= 1 << 16);
}

}  // namespace runner::engine
