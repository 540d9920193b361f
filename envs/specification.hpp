// What a run asks of its environment, in canonical form, and its identity. Plain values; no I/O. Any thread.
//
// Canonical: what does not change the environment does not change the text. Packages are normalised (PEP 503 names, no
// blanks, sorted, each once); channels and pip options keep their order, for it has a meaning; names, versions of a
// record and variables are not in it at all. Credentials are never in it (envs/credentials.hpp).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::envs {

enum class SpecificationKind { kInterpreter, kVenv, kConda, kImage, kDockerfile, kCondaImage };
std::string_view to_string(
    SpecificationKind kind);  // "interpreter", "venv", "conda", "image", "dockerfile", "conda-image"

struct Specification {
  SpecificationKind kind = SpecificationKind::kInterpreter;
  std::string interpreter{};               // kInterpreter: as given, absolute; empty: the caller's
  std::vector<std::string> pip{};          // kVenv, kConda, kCondaImage: requirements (PEP 508), "name @ URL" included
  std::vector<std::string> pip_options{};  // one a string, "--index-url=https://host/simple"; in order
  std::vector<std::string> constraints{};  // of `-c` files: canonical requirements that only restrict
  std::vector<std::string> channels{};     // kConda, kCondaImage: as written, in order; may hold "nodefaults"
  std::vector<std::string> conda{};        // kConda, kCondaImage: match specs
  std::map<std::string, std::string> files{};  // absolute path of a local file a requirement names → its SHA-256 (hex)
  std::string image{};                         // kImage, kCondaImage: the reference as given
  std::string dockerfile{};                    // kDockerfile: its text
  std::string context{};                       // kDockerfile: absolute path of the build context; empty: none is needed
  std::string context_digest{};                // kDockerfile: of what the context sends to the Engine; empty: none
  std::map<std::string, std::string> build_arguments{};  // kDockerfile
  std::string
      dockerfile_path{};  // kDockerfile: where it was, for the .dockerignore beside it; empty: a text of its own
  bool operator==(const Specification&) const = default;
};

// Canonical JSON (sorted keys, absent when empty) and back. Error(kInternal) for text that is none of ours.
std::string to_json(const Specification& specification);
Specification specification_from_json(std::string_view json);

// What besides the specification decides what is built.
struct BuildBase {
  std::string platform;  // "linux-x86_64"
  std::string base;      // kVenv: "cpython 3.11.7 /usr/bin/python3.11"; images: their ids; kConda: empty
};
BuildBase this_platform();  // with an empty base

// The text that is hashed, one fact a line, for people and `env diff`; the identity is its SHA-256.
std::string identity_text(const Specification& specification, const BuildBase& base);
Hash identity_of(const Specification& specification, const BuildBase& base);

}  // namespace runner::envs
