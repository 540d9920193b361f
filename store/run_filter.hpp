// Which runs a list is of. Plain values, and their text in queries; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::store {

enum class Comparison { kEqual, kNotEqual, kLess, kAtMost, kGreater, kAtLeast };

// A value that is a number is compared as one: with numbers only, but that everything else is not equal to it. Any
// other value is compared as text, bytewise.
struct Compared {
  Comparison comparison = Comparison::kEqual;
  std::string value;
  bool operator==(const Compared&) const = default;
};

struct ParameterFilter {
  std::string key;
  std::optional<Compared> is{};  // nothing: has it
  bool operator==(const ParameterFilter&) const = default;
};

struct MetricFilter {
  enum class Field { kLast, kMinimum, kMaximum };
  std::string name;
  Field field = Field::kLast;
  std::optional<Compared> is{};  // nothing: has logged it, in whatever shape
  bool operator==(const MetricFilter&) const = default;
};

// "lr", "lr=0.1", "lr!=0.1", "lr<0.1", "lr<=0.1", "lr>0.1", "lr>=0.1": the first operator counts. Error(kInvalid).
ParameterFilter parameter_filter(std::string_view text);
// The same, with ".last", ".min" or ".max" behind the name: "loss.min<0.1". Without it the last value is meant, and a
// name that ends in one of these is to be written with one more.
MetricFilter metric_filter(std::string_view text);

struct RunFilter {
  std::optional<std::string> experiment{};
  std::optional<RunStatus> status{};
  std::optional<RunKind> kind{};
  std::vector<std::pair<std::string, std::optional<std::string>>> tags{};        // no value: has the tag
  std::vector<std::pair<std::string, std::optional<std::string>>> properties{};  // everything is ANDed
  std::vector<ParameterFilter> parameters{};
  std::vector<MetricFilter> metrics{};
  std::optional<std::string> text{};  // somewhere in id, name, script or a tag; letter case ignored; 3 letters or more
  std::optional<std::string> parent{};   // only children of this run
  bool recursive = false;                // with `parent`: its descendants
  bool include_children = false;         // else top level only (unless `parent`)
  std::optional<UtcTime> since{};        // created at or after
  std::optional<UtcTime> until{};        // created at or before
  std::optional<std::int64_t> limit{};   // of the newest
  std::optional<std::int64_t> before{};  // a page's `next`: what follows it
};

// Newest first.
struct RunPage {
  std::vector<RunRecord> runs;
  std::optional<std::int64_t> next;  // there are more
};

}  // namespace runner::store
