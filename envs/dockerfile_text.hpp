// A Dockerfile's instructions, as far as they must be known before an Engine sees them. Private to this folder. Any
// thread; no I/O. Grammar: https://docs.docker.com/reference/dockerfile/
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace runner::envs {

struct DockerfileInstruction {
  int line = 0;                                              // its first, from 1
  std::string keyword;                                       // upper case
  std::vector<std::pair<std::string, std::string>> flags{};  // "--from=x" → {"from", "x"}
  std::string rest{};                                        // after the flags, continuation lines joined
  std::vector<std::string> heredocs{};                       // their words, "<<EOF" → "EOF"; the texts are left out
};

struct DockerfileText {
  char escape = '\\';
  std::vector<DockerfileInstruction> instructions;
};
// Takes whatever it is given: what is wrong with it the Engine says better.
DockerfileText parse_dockerfile(std::string_view text);

// "$X", "${X}", "${X:-otherwise}", "${X:+instead}" (and without the colon) replaced, quotes taken off.
std::string expand_dockerfile_word(std::string_view word, const std::map<std::string, std::string>& variables,
                                   char escape);

// The line of an instruction by the number that the Engine counts with; 0 if it cannot be told. `stage` from 1, or 0
// when all are counted through. `said` is what the Engine calls the instruction.
int line_of_step(const DockerfileText& dockerfile, int stage, int number, std::string_view said);

}  // namespace runner::envs
