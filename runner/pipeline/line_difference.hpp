// Two texts, line by line. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace runner::pipeline {

// "- LINE" for each that only `before` has and "+ LINE" for each that only `after` has, in the texts' order, so that
// what moved is named as well. Empty: they are equal.
std::vector<std::string> line_difference(std::string_view before, std::string_view after);

}  // namespace runner::pipeline
