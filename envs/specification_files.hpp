// Files that say what an environment is made of, read into canonical specifications. Reads files, and nothing else of
// the machine. Any thread. Errors are kInvalid "FILE:LINE:COLUMN: WHY" (the column where it is known) with the way out
// as hint, kNotFound for a file that is not there.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "envs/specification.hpp"

namespace runner::envs {

struct ReadSpecification {
  Specification specification{};
  std::string name{};                              // conda files have one; no part of the identity
  std::map<std::string, std::string> variables{};  // a conda file's `variables:`; of the run, no part of the identity
  // URL as it stands in the specification → with its credentials. For the build; never stored, never shown.
  std::map<std::string, std::string> credentials{};
  std::vector<std::string> warnings{};  // "environment.yml:7: unknown key 'foo'"
};

// A requirements.txt as pip reads it: comments, continuation lines, -r and -c (relative to the file that says so),
// --hash, environment markers, options, ${VARIABLES} (left as they are, they are expanded by the build). A local wheel
// or source archive counts with its content. Editable and directory requirements are refused: what they install changes
// without the environment's noticing.
ReadSpecification read_requirements(const std::filesystem::path& file);
// The same text where it stands in another file: line 1 of it is line `first_line` of `label` in messages; `-r`, `-c`
// and local files are relative to `directory`.
ReadSpecification parse_requirements(std::string_view text, const std::string& label,
                                     const std::filesystem::path& directory, int first_line = 1);
// [project] dependencies (and requires-python) of a pyproject.toml.
ReadSpecification read_pyproject(const std::filesystem::path& file);
// By its name: *.toml is a pyproject, anything else requirements.
ReadSpecification read_pip_file(const std::filesystem::path& file);

// A conda environment file in all shapes of spec/azure-ml-v1.md. `label` stands for the file in messages; `-r` and
// local wheels of its pip list are relative to `directory`.
ReadSpecification read_conda_file(const std::filesystem::path& file);
ReadSpecification parse_conda(std::string_view yaml, const std::string& label, const std::filesystem::path& directory);

// "Foo_Bar.baz" → "foo-bar-baz" (PEP 503).
std::string normalised_name(std::string_view name);
// "Foo [B,a] >=1 , <2 ; python_version<'3.9'" → "foo[a,b]<2,>=1; python_version < \"3.9\"". Error(kInvalid) saying what
// is wrong, without a place.
std::string normalised_requirement(std::string_view requirement);
// "NumPy =1.26", "python >=3.10,<3.11" → "numpy=1.26", "python>=3.10,<3.11"; "conda-forge::pkg[build=*_0]" kept in
// shape. Error(kInvalid).
std::string normalised_match_spec(std::string_view spec);

// "https://user:secret@host/x?token=T&a=b" → {"https://host/x?a=b", true}; ${VARIABLES} are no credentials.
struct StrippedUrl {
  std::string url;
  bool had_credentials;
};
StrippedUrl without_credentials(std::string_view url);

}  // namespace runner::envs
