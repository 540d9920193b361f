#include "envs/dockerfile_text.hpp"

#include <catch2/catch.hpp>

#include "envs/build_context.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

using Names = std::vector<std::string>;

std::string why(const std::string& dockerfile) {
  try {
    base_images(dockerfile, {});
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

}  // namespace

TEST_CASE("base images are those of FROM, without stages and scratch, each once") {
  CHECK(base_images("FROM debian:12\n", {}) == Names{"debian:12"});
  CHECK(base_images("from a AS One\nFROM --platform=linux/amd64 b as two\nFROM one\nFROM scratch\nFROM a\n", {}) ==
        Names{"a", "b"});
  CHECK(base_images("FROM a\nCOPY --from=host:5000/tools /x /y\nCOPY --from=0 /x /z\n", {}) ==
        Names{"a", "host:5000/tools"});
}

TEST_CASE("arguments before the first FROM stand for parts of a base's name") {
  const std::string text =
      "ARG TAG=12\nARG BASE=debian:${TAG}-slim\nARG NONE\nFROM ${BASE}\nARG LATER=x\nFROM ${NONE:-busybox}:$TAG\n";
  CHECK(base_images(text, {}) == Names{"debian:12-slim", "busybox:12"});
  CHECK(base_images(text, {{"TAG", "13"}, {"NONE", "alpine"}}) == Names{"debian:13-slim", "alpine:13"});
  CHECK(base_images("ARG A=x\nFROM \"${A:+y}\"\n", {}) == Names{"y"});
  // One that is not declared is none, whatever is given for it.
  CHECK(why("FROM ${MISSING}\n") == "Dockerfile:1: FROM ${MISSING} names no image: its variable has no value");
}

TEST_CASE("words are expanded as a shell would, and quotes go") {
  const std::map<std::string, std::string> variables{{"A", "x"}, {"EMPTY", ""}};
  const auto expanded = [&](const std::string& word) { return expand_dockerfile_word(word, variables, '\\'); };
  CHECK(expanded("$A-${A}") == "x-x");
  CHECK(expanded("${EMPTY:-d}|${EMPTY-d}|${NONE-d}") == "d||d");
  CHECK(expanded("${A:+y}|${EMPTY:+y}|${EMPTY+y}") == "y||y");
  CHECK(expanded("${NONE:-${A}}/") == "x/");
  CHECK(expanded("'$A' \"$A\" \\$A $") == "$A x $A $");
}

TEST_CASE("continued lines, comments among them, directives and here-documents are read as docker reads them") {
  const DockerfileText text = parse_dockerfile(
      "# syntax=docker/dockerfile:1\n# escape=`\n\nFROM a `\n  # a comment\n\n  AS b\nRUN <<EOF cat && \\\nFROM "
      "no\nEOF\n"
      "\tcopy --from=b --chown=1:1 x y\r\n");
  REQUIRE(text.instructions.size() == 3);
  CHECK(text.escape == '`');
  CHECK(text.instructions[0].line == 4);
  CHECK(text.instructions[0].rest.find("AS b") != std::string::npos);
  CHECK(text.instructions[1].heredocs == Names{"EOF"});
  CHECK(text.instructions[2].keyword == "COPY");
  CHECK(text.instructions[2].line == 11);
  CHECK(text.instructions[2].flags.size() == 2);
  CHECK(text.instructions[2].rest == "x y");
  // A comment ends the directives.
  CHECK(parse_dockerfile("# hello\n# escape=`\nFROM a\n").escape == '\\');
  CHECK(parse_dockerfile("FROM a\nRUN x \\\\\nRUN y\n").instructions.size() == 3);
}

TEST_CASE("the context is needed by what copies from it") {
  CHECK(needs_context("FROM a\nCOPY . /x\n"));
  CHECK(needs_context("FROM a\nadd [\"x\", \"/y\"]\n"));
  CHECK(needs_context("FROM a\nCOPY --chown=1 x y\n"));
  CHECK(needs_context("FROM a\nADD https://host/x local /y\n"));
  CHECK(needs_context("FROM a\nRUN --mount=type=bind,source=.,target=/x true\n"));
  CHECK_FALSE(needs_context("FROM a\nRUN --mount=type=cache,target=/x true\n"));
  CHECK_FALSE(needs_context("FROM a\nCOPY --from=b . /x\n"));
  CHECK_FALSE(needs_context("FROM a\nADD https://host/x /y\n"));
  CHECK_FALSE(needs_context("FROM a\nCOPY <<EOF /y\nCOPY . /\nEOF\nRUN echo COPY . /x\n"));
}

TEST_CASE("a Dockerfile without a base is refused with a line") {
  CHECK(why("# nothing\n\nRUN x\n") == "Dockerfile:3: no FROM: an image needs a base");
  CHECK(why("") == "Dockerfile:1: no FROM: an image needs a base");
  CHECK(why("FROM\n") == "Dockerfile:1: FROM without an image");
}

TEST_CASE("a step that failed has a line") {
  const DockerfileText text = parse_dockerfile("ARG A=1\nFROM a\n\nRUN x \\\n y\nFROM b\nRUN z\n");
  CHECK(line_of_step(text, 0, 1, "ARG A=1") == 1);
  CHECK(line_of_step(text, 0, 3, "RUN x y") == 4);
  CHECK(line_of_step(text, 0, 5, "RUN z") == 7);
  CHECK(line_of_step(text, 2, 2, "RUN z") == 7);      // Podman counts anew in each stage
  CHECK(line_of_step(text, 0, 6, "LABEL x=y") == 0);  // the Engine's own
  CHECK(line_of_step(text, 0, 3, "COPY x y") == 0);   // it counts otherwise than we do
}

}  // namespace runner::envs
