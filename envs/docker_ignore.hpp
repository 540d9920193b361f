// The rules of a .dockerignore (https://docs.docker.com/build/concepts/context/#dockerignore-files). Private to this
// folder. Any thread; no I/O.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "envs/ignore_pattern.hpp"

namespace runner::envs {

class DockerIgnore {
 public:
  DockerIgnore() = default;
  // Error(kInvalid) "LABEL:LINE: WHY".
  DockerIgnore(std::string_view text, const std::string& label);

  // What a directory's verdict hands on to its children: a rule each.
  using Matched = std::vector<bool>;
  struct Verdict {
    bool ignored = false;
    Matched matched{};
  };
  // `parent` is the verdict of the directory that holds it; empty for the uppermost ones.
  Verdict look_at(std::string_view path, const Matched& parent) const;
  // By itself, parents included.
  bool ignores(std::string_view path) const;
  // Whether a later "!" could take something back that is below an ignored directory.
  bool may_return_below(std::string_view directory) const;

 private:
  struct Rule {
    IgnorePattern pattern;
    bool exception;  // "!"
  };
  std::vector<Rule> rules_;
};

}  // namespace runner::envs
