#include "envs/pylock.hpp"

#include <toml++/toml.h>

#include <filesystem>
#include <sstream>

#include "envs/artefact_name.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

PylockArtefact artefact_from(const toml::table& table, const std::string& directory) {
  PylockArtefact artefact;
  artefact.url = table["url"].value_or(std::string());
  if (const auto path = table["path"].value<std::string>())
    artefact.url = file_url((fs::path(directory) / *path).lexically_normal().string());
  if (const auto sha256 = table["hashes"]["sha256"].value<std::string>()) artefact.hash = "sha256:" + *sha256;
  artefact.bytes = table["size"].value_or(std::int64_t{0});
  return artefact;
}

PylockPackage package_from(const toml::table& table, const std::string& directory) {
  PylockPackage package;
  package.name = normalised_name(table["name"].value_or(std::string()));
  package.version = table["version"].value_or(std::string());
  if (const toml::array* wheels = table["wheels"].as_array())
    for (const toml::node& wheel : *wheels)
      if (const toml::table* one = wheel.as_table()) package.wheels.push_back(artefact_from(*one, directory));
  if (const toml::table* source = table["sdist"].as_table()) package.source = artefact_from(*source, directory);
  if (const toml::table* archive = table["archive"].as_table()) {
    package.archive = artefact_from(*archive, directory);
    package.subdirectory = (*archive)["subdirectory"].value_or(std::string());
  }
  if (const toml::table* vcs = table["vcs"].as_table()) {
    package.repository = (*vcs)["type"].value_or(std::string("git")) + "+" + (*vcs)["url"].value_or(std::string());
    package.commit = (*vcs)["commit-id"].value_or(std::string());
    package.subdirectory = (*vcs)["subdirectory"].value_or(std::string());
  }
  return package;
}

toml::table table_of(const PylockArtefact& artefact) {
  toml::table table;
  if (const auto path = path_of_file_url(artefact.url))
    table.insert("path", *path);
  else
    table.insert("url", artefact.url);
  constexpr std::string_view kSha256 = "sha256:";
  toml::table hashes;
  if (artefact.hash.starts_with(kSha256)) hashes.insert("sha256", artefact.hash.substr(kSha256.size()));
  if (artefact.bytes > 0) table.insert("size", artefact.bytes);
  table.insert("hashes", std::move(hashes));
  return table;
}

toml::table table_of(const PylockPackage& package) {
  toml::table table;
  table.insert("name", package.name);
  if (!package.version.empty()) table.insert("version", package.version);
  toml::array wheels;
  for (const PylockArtefact& wheel : package.wheels) wheels.push_back(table_of(wheel));
  if (!wheels.empty()) table.insert("wheels", std::move(wheels));
  if (package.source) table.insert("sdist", table_of(*package.source));
  if (package.archive) {
    toml::table archive = table_of(*package.archive);
    if (!package.subdirectory.empty()) archive.insert("subdirectory", package.subdirectory);
    table.insert("archive", std::move(archive));
  }
  if (!package.repository.empty()) {
    const auto plus = package.repository.find('+');
    toml::table vcs{{"type", package.repository.substr(0, plus)},
                    {"url", package.repository.substr(plus + 1)},
                    {"commit-id", package.commit}};
    if (!package.subdirectory.empty()) vcs.insert("subdirectory", package.subdirectory);
    table.insert("vcs", std::move(vcs));
  }
  return table;
}

}  // namespace

std::vector<PylockPackage> read_pylock(std::string_view text, const std::string& directory) {
  try {
    const toml::table document = toml::parse(text);
    std::vector<PylockPackage> packages;
    if (const toml::array* list = document["packages"].as_array())
      for (const toml::node& node : *list)
        if (const toml::table* table = node.as_table()) packages.push_back(package_from(*table, directory));
    return packages;
  } catch (const toml::parse_error& error) {
    throw Error(ErrorCode::kInternal, "uv's answer is no pylock.toml: " + std::string(error.description()));
  }
}

std::string write_pylock(const std::vector<PylockPackage>& packages) {
  toml::array list;
  for (const PylockPackage& package : packages) list.push_back(table_of(package));
  const toml::table document{{"lock-version", "1.0"}, {"created-by", "runner"}, {"packages", std::move(list)}};
  std::ostringstream text;
  text << document << "\n";
  return text.str();
}

}  // namespace runner::envs
