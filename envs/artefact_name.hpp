// What the name of a wheel or a source archive says, and file URLs. Private to this folder. Plain values; no I/O.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace runner::envs {

struct ArtefactName {
  std::string name;  // normalised
  std::string version;
  std::string tags;  // "cp311-cp311-manylinux1_x86_64.manylinux_2_5_x86_64"; empty: a source archive
};
// "numpy-1.26.4-cp311-cp311-linux_x86_64.whl", "foo-1.0.tar.gz"; nothing for a name that says nothing.
std::optional<ArtefactName> artefact_name(std::string_view file_name);
bool is_archive(std::string_view file_name);  // a wheel or an archive that pip would build

// "py2.py3-none-any" → {"py2-none-any", "py3-none-any"}, the tags that a wheel's WHEEL file lists.
std::set<std::string> expanded_tags(std::string_view tags);

std::string percent_decoded(std::string_view text);  // "a%20b" → "a b"
// The last part of a URL's path, decoded.
std::string file_name_of(std::string_view url);
std::string file_url(std::string_view absolute_path);               // "file:///a%20b"
std::optional<std::string> path_of_file_url(std::string_view url);  // nothing for another scheme or machine

}  // namespace runner::envs
