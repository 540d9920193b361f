// What is in an environment: every package that was resolved. Plain values; no I/O. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::envs {

struct LockedPackage {
  std::string manager;  // "pip", "conda"
  std::string name;     // normalised
  std::string version;
  std::string build{};    // conda: "py311h1234_0"; pip: the wheel's tags where they are known
  std::string channel{};  // conda
  std::string url{};      // where it came from, without credentials; empty where it is not known (an interpreter's own)
  std::string hash{};     // "sha256:…" or "md5:…" of the file behind the URL; empty where it is not known
  bool operator==(const LockedPackage&) const = default;
};

struct Lock {
  std::string python_version;           // "3.11.7"; empty without Python
  std::string image;                    // id of the image it is, or was made in; "sha256:…"
  std::vector<LockedPackage> packages;  // sorted by manager, name
  bool operator==(const Lock&) const = default;
};

std::string to_json(const Lock& lock);  // canonical
Lock lock_from_json(std::string_view json);
Hash digest_of(const Lock& lock);

// A line for each package that differs, for people: "numpy: 1.26.4 → 2.0.1 (pip)".
std::vector<std::string> difference(const Lock& before, const Lock& after);

}  // namespace runner::envs
